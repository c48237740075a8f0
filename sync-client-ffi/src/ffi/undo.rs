//! Undo and redo of this device's edits of a document.

use std::sync::{Arc, Mutex};

use super::background::guarded;
use super::document::Document;
use super::error::RejoinError;
use crate::client::{self, lock};

/// Undoes and redoes what this device edits while this lives, whatever others do meanwhile. An undo is a new edit: it changes
/// what was edited back, wherever that is by now, and leaves alone what others have replaced or deleted since.
#[derive(uniffi::Object)]
pub struct UndoManager {
    undo: Mutex<Option<client::Undo>>,
}

#[uniffi::export]
impl Document {
    /// Keeps the edits of this document from now on, at most 200 of them, so that they can be undone. All managers of a
    /// document share one list, which is gone with the last of them.
    pub fn undo_manager(&self) -> Result<Arc<UndoManager>, RejoinError> {
        let undo = self.with(|doc| doc.undoable())?;
        Ok(Arc::new(UndoManager { undo: Mutex::new(Some(undo)) }))
    }
}

#[uniffi::export]
impl UndoManager {
    /// Undoes the last edit that still can be; gives the number of the edit that did it, nothing if there is none.
    pub fn undo(&self) -> Result<Option<u64>, RejoinError> {
        self.with(client::Undo::undo)
    }

    /// Does again what was undone last. An edit in between ends that.
    pub fn redo(&self) -> Result<Option<u64>, RejoinError> {
        self.with(client::Undo::redo)
    }

    /// How many edits can be undone.
    pub fn undo_steps(&self) -> Result<u64, RejoinError> {
        self.with(|undo| Ok::<_, RejoinError>(undo.undo_steps() as u64))
    }

    /// How many can be done again.
    pub fn redo_steps(&self) -> Result<u64, RejoinError> {
        self.with(|undo| Ok::<_, RejoinError>(undo.redo_steps() as u64))
    }

    /// Edits from now on are undone together, until `end_group` or another group: a word, and not a letter.
    pub fn begin_group(&self) -> Result<(), RejoinError> {
        self.with(|undo| {
            undo.begin_group();
            Ok::<_, RejoinError>(())
        })
    }

    /// Edits from now on are undone each on its own.
    pub fn end_group(&self) -> Result<(), RejoinError> {
        self.with(|undo| {
            undo.end_group();
            Ok::<_, RejoinError>(())
        })
    }

    /// Keeps nothing any more.
    pub fn release(&self) {
        drop(lock(&self.undo).take());
    }
}

impl UndoManager {
    fn with<T, E: Into<RejoinError>>(
        &self,
        work: impl FnOnce(&client::Undo) -> Result<T, E>,
    ) -> Result<T, RejoinError> {
        let undo = lock(&self.undo);
        let undo = undo.as_ref().ok_or_else(RejoinError::closed)?;
        guarded(|| work(undo))
    }
}
