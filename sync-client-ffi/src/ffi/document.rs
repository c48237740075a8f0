//! A document's handle: edit, read, observe.

use std::sync::Arc;
use std::time::Duration;

use sync_core::document::Op;
use sync_core::id::{DocId, SpaceId};
use sync_core::value::Value;

use super::background::{blocking, guarded};
use super::client::Open;
use super::edit::{ChangeState, EditOp, Step};
use super::error::RejoinError;
use super::observe::{DocumentObserver, Watch, told};
use super::path::parse;
use super::value::FfiValue;
use crate::client::Doc;

/// Where a document is. Keeps no client open.
#[derive(Clone)]
pub(super) struct Place {
    open: Arc<Open>,
    space: SpaceId,
    id: DocId,
}

impl Place {
    pub(super) fn doc(&self) -> Result<Doc, RejoinError> {
        Ok(self.open.client()?.open_doc(self.space, self.id)?)
    }
}

/// A document that is here. Holding it keeps nothing in memory: it is loaded when it is used.
#[derive(uniffi::Object)]
pub struct Document {
    place: Place,
}

impl Document {
    pub(super) fn new(open: Arc<Open>, space: SpaceId, id: DocId) -> Arc<Self> {
        Arc::new(Self { place: Place { open, space, id } })
    }

    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    pub(super) fn doc(&self) -> Result<Doc, RejoinError> {
        self.place.doc()
    }

    pub(super) fn with<T, E: Into<RejoinError>>(
        &self,
        work: impl FnOnce(Doc) -> Result<T, E>,
    ) -> Result<T, RejoinError> {
        guarded(|| work(self.doc()?).map_err(Into::into))
    }

    fn read(&self, path: &str) -> Result<Option<Value>, RejoinError> {
        let path = parse(path)?;
        self.with(|doc| doc.get(path))
    }
}

#[uniffi::export]
impl Document {
    /// Its id.
    pub fn id(&self) -> DocId {
        self.place.id
    }

    /// In which space it is.
    pub fn space(&self) -> SpaceId {
        self.place.space
    }

    /// Makes an edit: all of the operations, or none. It is on disk when this returns; gives its number.
    pub fn edit(&self, ops: Vec<EditOp>) -> Result<u64, RejoinError> {
        let steps: Vec<Step> = ops.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        self.apply(steps)
    }

    /// One edit that sets a key of a map, or replaces an element of a list.
    pub fn put(&self, path: &str, value: FfiValue) -> Result<u64, RejoinError> {
        self.apply(vec![Step::Op(Op::Put { path: parse(path)?, value: value.into() })])
    }

    /// One edit that replaces a part of a text. Positions count Unicode characters (code points).
    pub fn splice(&self, path: &str, at: u64, remove: u64, insert: String) -> Result<u64, RejoinError> {
        self.apply(vec![Step::Op(Op::Splice { path: parse(path)?, at, delete: remove, insert })])
    }

    /// One edit that adds to a counter.
    pub fn increment(&self, path: &str, by: i64) -> Result<u64, RejoinError> {
        self.apply(vec![Step::Op(Op::Increment { path: parse(path)?, by })])
    }

    /// The value at a path with all that is in it; nothing if there is none.
    pub fn get(&self, path: &str) -> Result<Option<FfiValue>, RejoinError> {
        Ok(self.read(path)?.map(Into::into))
    }

    /// The same as JSON: bytes become base64, counters and timestamps numbers. The empty path gives the whole document.
    pub fn json(&self, path: &str) -> Result<Option<String>, RejoinError> {
        let path = parse(path)?;
        self.with(|doc| doc.json(path))
    }

    /// The text at a path; nothing if there is none.
    pub fn text(&self, path: &str) -> Result<Option<String>, RejoinError> {
        let path = parse(path)?;
        self.with(|doc| doc.text(path))
    }

    /// Elements of the list or map, or characters of the text, at a path; nothing if there is none.
    pub fn length(&self, path: &str) -> Result<Option<u64>, RejoinError> {
        let path = parse(path)?;
        self.with(|doc| doc.length(path))
    }

    /// What has become of an edit of this device.
    pub fn edit_state(&self, edit: u64) -> Result<ChangeState, RejoinError> {
        self.with(|doc| doc.edit_state(edit)).map(Into::into)
    }

    /// How many edits this device ever made here.
    pub fn edits(&self) -> Result<u64, RejoinError> {
        self.with(|doc| doc.edits())
    }

    /// Tells an observer of every change of the document, in order.
    pub fn observe(&self, observer: Arc<dyn DocumentObserver>) -> Result<Arc<Watch>, RejoinError> {
        let subscription =
            self.with(|doc| Ok::<_, RejoinError>(doc.observe(move |event| told(|| observer.on_event(event.into())))))?;
        Ok(Watch::of(subscription))
    }

    /// Waits until the text at a path contains something. `false` if it does not in time. For tests and scripts.
    pub async fn wait_for_text(&self, path: String, wanted: String, timeout_ms: u64) -> Result<bool, RejoinError> {
        let (doc, path) = (self.doc()?, parse(&path)?);
        let holds = move |doc: &Doc| doc.text(path.clone()).is_ok_and(|text| text.is_some_and(|t| t.contains(&wanted)));
        blocking(move || Ok::<_, RejoinError>(doc.wait_until(Duration::from_millis(timeout_ms), holds))).await
    }
}

impl Document {
    fn apply(&self, steps: Vec<Step>) -> Result<u64, RejoinError> {
        self.with(|doc| doc.edit(|edit| steps.into_iter().for_each(|step| step.write(edit))))
    }
}
