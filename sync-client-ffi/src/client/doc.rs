//! A document handle: edit, read, observe, hold.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sync_core::document::{Document, Expand, Op, Patch};
use sync_core::id::{DocId, Hash, SpaceId};
use sync_core::value::{Path, Value};
use sync_core::version::VersionVector;

use super::edits::EditState;
use super::engine::{Engine, OpenDocument};
use super::error::ClientError;
use super::moving::EditStep;
use super::observe::{DocEvent, Origin, Subscription, Turn};
use super::{Client, WAIT_STEP, lock, runner};

/// An open document. Cheap to clone.
#[derive(Clone)]
pub struct Doc {
    pub(super) client: Client,
    pub(super) space: SpaceId,
    pub(super) id: DocId,
}

/// The operations of one edit, which takes effect as a whole or not at all.
#[derive(Debug, Default)]
pub struct Edit {
    steps: Vec<EditStep>,
}

impl Edit {
    /// Sets a key of a map, or replaces an element of a list.
    pub fn put(&mut self, path: impl Into<Path>, value: impl Into<Value>) -> &mut Self {
        self.op(Op::Put { path: path.into(), value: value.into() })
    }

    /// Inserts elements into a list, before the index that ends the path.
    pub fn insert(&mut self, path: impl Into<Path>, values: impl IntoIterator<Item = Value>) -> &mut Self {
        self.op(Op::Insert { path: path.into(), values: values.into_iter().collect() })
    }

    /// Removes a key of a map, or an element of a list.
    pub fn delete(&mut self, path: impl Into<Path>) -> &mut Self {
        self.op(Op::Delete { path: path.into() })
    }

    /// Replaces `delete` characters at `at` of a text by `insert`. Positions count Unicode characters.
    pub fn splice(&mut self, path: impl Into<Path>, at: u64, delete: u64, insert: impl Into<String>) -> &mut Self {
        self.op(Op::Splice { path: path.into(), at, delete, insert: insert.into() })
    }

    /// Marks the characters `start..end` of a text; the value null unmarks them.
    pub fn mark(
        &mut self,
        path: impl Into<Path>,
        range: std::ops::Range<u64>,
        name: impl Into<String>,
        value: impl Into<Value>,
        expand: Expand,
    ) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        self.op(Op::Mark { path: path.into(), start: range.start, end: range.end, name, value, expand })
    }

    /// Adds to a counter.
    pub fn increment(&mut self, path: impl Into<Path>, by: i64) -> &mut Self {
        self.op(Op::Increment { path: path.into(), by })
    }

    /// Moves an element of a list to another place: `to` is its index afterwards.
    ///
    /// Lists of automerge have no move, so this inserts the value anew and deletes the old element, in one edit. What others
    /// do to the element at the same time, before they have this edit, is done to the old one: their changes within it are
    /// lost, if they delete it the new one stays, and if they move it too there are two. Its counters go on from what they
    /// showed here. Marks of its texts come along; text that is typed behind a mark's last character joins it from then on.
    pub fn move_element(&mut self, list: impl Into<Path>, from: u64, to: u64) -> &mut Self {
        self.steps.push(EditStep::Move { list: list.into(), from, to });
        self
    }

    /// Any operation.
    pub fn op(&mut self, op: Op) -> &mut Self {
        self.steps.push(EditStep::Op(op));
        self
    }

    pub(super) fn into_steps(self) -> Vec<EditStep> {
        self.steps
    }
}

impl Doc {
    pub(super) fn new(client: Client, space: SpaceId, id: DocId) -> Self {
        Self { client, space, id }
    }

    /// Its id.
    pub fn id(&self) -> DocId {
        self.id
    }

    /// In which space it is.
    pub fn space(&self) -> SpaceId {
        self.space
    }

    /// Makes an edit. It is on disk when this returns; gives its number, counting this device's edits here from 1. A document that
    /// is older than the app's schema is [upgraded](Self::upgrade) before.
    pub fn edit(&self, build: impl FnOnce(&mut Edit)) -> Result<u64, ClientError> {
        let mut edit = Edit::default();
        build(&mut edit);
        self.upgraded()?;
        let number = {
            let mut engine = self.client.engine();
            let any = !edit.steps.is_empty();
            let ops = engine.operations(self.space, self.id, edit.steps)?;
            if any && ops.is_empty() {
                // Elements were moved to where they are.
                return self.edits_of(&engine);
            }
            let (number, patches) = engine.edit(self.space, self.id, ops)?;
            self.told(&engine, number, patches);
            number
        };
        self.client.shared.inbox.edited(self.space);
        Ok(number)
    }

    /// Tells observers of an edit, under the lock, so that they hear of edits and merges in the order in which they took effect.
    pub(super) fn told(&self, engine: &Engine, number: u64, patches: Vec<Patch>) {
        let through = engine.through(self.space, self.id);
        let shared = &self.client.shared;
        shared.observers.patches(self.space, self.id, Origin::Local, patches, through);
        shared.observers.edits(self.space, self.id, number, number, EditState::Local);
        shared.collected(engine, self.space, self.id, Turn::Changed);
    }

    fn edits_of(&self, engine: &Engine) -> Result<u64, ClientError> {
        let open = engine.documents.get(&(self.space, self.id)).ok_or(ClientError::NoDocument(self.id))?;
        Ok(open.edits)
    }

    /// How many edits this device ever made here; all of them are on disk.
    pub fn edits(&self) -> Result<u64, ClientError> {
        self.with(|open, _| open.edits)
    }

    /// The value at a path with all that is in it; `None` if nothing is there.
    pub fn get(&self, path: impl Into<Path>) -> Result<Option<Value>, ClientError> {
        self.with(|_, document| document.get(path))
    }

    /// The same as JSON text, and several times faster: bytes become base64 text, counters and timestamps numbers.
    pub fn json(&self, path: impl Into<Path>) -> Result<Option<String>, ClientError> {
        self.with(|_, document| document.json(path))
    }

    /// The text at a path; `None` if there is none.
    pub fn text(&self, path: impl Into<Path>) -> Result<Option<String>, ClientError> {
        self.with(|_, document| document.text(path))
    }

    /// Elements of the list or map, or characters of the text, at a path; `None` if there is none.
    pub fn length(&self, path: impl Into<Path>) -> Result<Option<u64>, ClientError> {
        self.with(|_, document| document.length(path))
    }

    /// Makes a change of the edits that are open, now rather than when the session sends them.
    pub fn seal(&self) -> Result<(), ClientError> {
        let mut engine = self.client.engine();
        engine.loaded(self.space, self.id)?;
        engine.seal(self.space, Some(self.id))
    }

    /// Seals what is open and gives the document's heads, ascending. Two replicas with equal heads hold equal documents.
    pub fn heads(&self) -> Result<Vec<Hash>, ClientError> {
        self.seal()?;
        self.with(|_, document| document.heads())
    }

    /// Seals what is open and gives bytes that are equal for equal histories.
    pub fn canonical_save(&self) -> Result<Vec<u8>, ClientError> {
        self.seal()?;
        self.with(|_, document| document.canonical_save())?.map_err(|_| ClientError::Corrupt)
    }

    /// Tells `callback` of every change of the document, in order, on a thread of its own: at once when the last call is
    /// more than a frame of a 60 Hz screen ago, else with all that happened in that frame.
    ///
    /// Steps come as [`Patched`](super::Patched), with what changed, where, and whether it came from here. Whoever does not
    /// keep up is told to [look again](super::EventKind::LookAgain).
    ///
    /// ```no_run
    /// # use sync_client_ffi::{Client, EventKind, SpaceId, DocId};
    /// # fn f(client: &Client, space: SpaceId, id: DocId) -> Result<(), sync_client_ffi::ClientError> {
    /// let doc = client.open_doc(space, id)?;
    /// let subscription = doc.observe(|event| match &event.kind {
    ///     EventKind::Patches(steps) => println!("{} steps", steps.len()),
    ///     EventKind::LookAgain => println!("read it again"),
    ///     EventKind::Deleted => println!("gone"),
    /// });
    /// # drop(subscription);
    /// # Ok(())
    /// # }
    /// ```
    pub fn observe(&self, callback: impl Fn(&DocEvent) + Send + Sync + 'static) -> Subscription {
        let subscription = self.client.shared.observers.observe_doc(self.space, self.id, Arc::new(callback));
        self.client.shared.watch();
        subscription
    }

    /// Waits until the document shows what `holds` asks for, and is woken as soon as it does. `false` if it has not in time.
    ///
    /// ```no_run
    /// # fn f(doc: &sync_client_ffi::Doc) {
    /// let soon = std::time::Duration::from_secs(1);
    /// let named = doc.wait_until(soon, |doc| doc.get("title").is_ok_and(|title| title.is_some()));
    /// # }
    /// ```
    pub fn wait_until(&self, timeout: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let until = Instant::now() + timeout;
        loop {
            let turn = self.client.engine().turns;
            if holds(self) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let engine = self.client.engine();
            // Nobody is woken for what changed while `holds` looked.
            if engine.turns == turn {
                let _ = self.client.shared.arrived.wait_timeout(engine, left.min(WAIT_STEP));
            }
        }
    }

    /// Holds the document at what it shows now: remote changes are stored, and shown when the hold is dropped or asked to
    /// [`merge`](Hold::merge). For an editor in the middle of a composition or a drag.
    pub fn hold(&self) -> Result<Hold, ClientError> {
        let mut engine = self.client.engine();
        engine.loaded(self.space, self.id)?;
        loop {
            let Some(open) = engine.documents.get_mut(&(self.space, self.id)) else {
                return Err(ClientError::NoDocument(self.id));
            };
            if !open.is_merging() {
                open.holds += 1;
                return Ok(Hold { doc: self.clone() });
            }
            let waited = self.client.shared.arrived.wait_timeout(engine, WAIT_STEP);
            engine = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Goes back to what this device last wrote upon, and holds the document there.
    pub(super) fn hold_at_own(&self) -> Result<Hold, ClientError> {
        let hold = self.hold()?;
        self.client.engine().load_held(self.space, self.id)?;
        Ok(hold)
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&OpenDocument, &Document) -> T) -> Result<T, ClientError> {
        let mut engine = self.client.engine();
        engine.loaded(self.space, self.id)?;
        let open = engine.documents.get(&(self.space, self.id)).ok_or(ClientError::NoDocument(self.id))?;
        let document = open.document.as_ref().ok_or(ClientError::NoDocument(self.id))?;
        Ok(read(open, document))
    }
}

/// Keeps a document at what it shows, until dropped.
#[must_use = "the document is held only as long as this lives"]
pub struct Hold {
    doc: Doc,
}

impl Hold {
    /// Takes in what has arrived so far, and holds on.
    pub fn merge(&self) -> Result<(), ClientError> {
        runner::merge(&self.doc.client.shared, self.doc.space, self.doc.id, true)
    }

    /// Takes in, of what has arrived so far, the changes that `version` covers and no others, and holds on: for a replay
    /// that must type upon exactly the state that somebody saw.
    pub fn merge_through(&self, version: &VersionVector) -> Result<(), ClientError> {
        runner::merge_through(&self.doc.client.shared, self.doc.space, self.doc.id, version)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let shared = &self.doc.client.shared;
        let mut engine = lock(&shared.engine);
        let read_only = engine.is_read_only();
        if let Some(open) = engine.documents.get_mut(&(self.doc.space, self.doc.id)) {
            open.holds = open.holds.saturating_sub(1);
            if read_only && open.holds == 0 {
                // What its writer did meanwhile is read when it is needed.
                *open = OpenDocument::default();
            }
        }
        drop(engine);
        if read_only {
            return;
        }
        if let Err(error) = runner::merge(shared, self.doc.space, self.doc.id, false) {
            tracing::warn!(%error, "what arrived during a hold could not be taken in");
        }
    }
}
