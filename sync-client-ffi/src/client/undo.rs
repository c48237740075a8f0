//! Undo and redo of this device's edits of a document.

use std::sync::{Arc, Weak};

use sync_core::id::{DocId, SpaceId};

use super::engine::Turning;
use super::error::ClientError;
use super::{Client, Doc, Shared};

/// Undoes and redoes what this device edits while this lives, whatever others do meanwhile.
///
/// An undo is a new edit: it changes what was edited back, wherever that is by now, and leaves alone what others have replaced
/// or deleted since. What others wrote into something that this device made goes with it when that is undone. An object that
/// is put back is a new one with the same content, so what others do to the old one at the same time is lost. History is never
/// rewritten.
#[must_use = "edits are kept to be undone only as long as this lives"]
pub struct Undo {
    // It keeps no client open.
    client: Weak<Shared>,
    space: SpaceId,
    id: DocId,
}

impl Doc {
    /// Keeps the edits of this document from now on, at most
    /// [`UNDO_STEPS_MAX`](sync_core::limits::UNDO_STEPS_MAX) of them, so that they can be undone. All handles of a document
    /// share one list, which is gone with the last of them.
    ///
    /// ```no_run
    /// # fn f(doc: &sync_client_ffi::Doc) -> Result<(), sync_client_ffi::ClientError> {
    /// let undo = doc.undoable()?;
    /// doc.edit(|edit| {
    ///     edit.put("title", "Lists");
    /// })?;
    /// undo.undo()?;
    /// undo.redo()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn undoable(&self) -> Result<Undo, ClientError> {
        self.client.engine().hold_undo(self.space, self.id)?;
        Ok(Undo { client: Arc::downgrade(&self.client.shared), space: self.space, id: self.id })
    }
}

impl Undo {
    /// Undoes the last edit that still can be; gives the number of the edit that did it, `None` if there is none.
    pub fn undo(&self) -> Result<Option<u64>, ClientError> {
        self.turn(Turning::Undo)
    }

    /// Does again what was undone last. An edit in between ends that.
    pub fn redo(&self) -> Result<Option<u64>, ClientError> {
        self.turn(Turning::Redo)
    }

    /// How many edits can be undone, as far as others have not made that pointless.
    pub fn undo_steps(&self) -> usize {
        self.steps(Turning::Undo)
    }

    /// How many can be done again.
    pub fn redo_steps(&self) -> usize {
        self.steps(Turning::Redo)
    }

    /// Edits from now on are undone together, until [`end_group`](Self::end_group) or another group: a word, and not a letter.
    pub fn begin_group(&self) {
        self.group(true);
    }

    /// Edits from now on are undone each on its own.
    pub fn end_group(&self) {
        self.group(false);
    }

    fn doc(&self) -> Result<Doc, ClientError> {
        let shared = self.client.upgrade().ok_or(ClientError::Left)?;
        Ok(Doc::new(Client { shared }, self.space, self.id))
    }

    fn steps(&self, turning: Turning) -> usize {
        self.doc().map_or(0, |doc| doc.client.engine().undo_steps(self.space, self.id, turning))
    }

    fn group(&self, together: bool) {
        if let Ok(doc) = self.doc() {
            doc.client.engine().group_undo(self.space, self.id, together);
        }
    }

    fn turn(&self, turning: Turning) -> Result<Option<u64>, ClientError> {
        let doc = self.doc()?;
        let number = {
            let mut engine = doc.client.engine();
            let Some((number, patches)) = engine.undo(self.space, self.id, turning)? else { return Ok(None) };
            doc.told(&engine, number, patches);
            number
        };
        doc.client.shared.inbox.edited(self.space);
        Ok(Some(number))
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Ok(doc) = self.doc() {
            doc.client.engine().release_undo(self.space, self.id);
        }
    }
}
