//! What an open document keeps to undo edits of this device, as long as somebody wants it: bounded, and gone with the client.

use std::collections::VecDeque;

use sync_core::document::{EditError, Patch, Renames, UndoStep, Undone};
use sync_core::id::{DocId, SpaceId};
use sync_core::limits::{UNDO_BYTES_MAX, UNDO_STEPS_MAX};

use super::{Engine, Made, Result};
use crate::client::clock;
use crate::client::error::ClientError;

/// In which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Turning {
    Undo,
    Redo,
}

/// Edits that can be undone, and undos that can be.
#[derive(Default)]
pub(in crate::client) struct UndoStacks {
    undo: VecDeque<(UndoStep, usize)>,
    redo: VecDeque<(UndoStep, usize)>,
    bytes: usize,
    holders: usize,
    group: Group,
}

/// Whether edits are undone together.
#[derive(Default, PartialEq, Eq)]
enum Group {
    #[default]
    Closed,
    Empty,
    Open,
}

impl UndoStacks {
    fn side(&mut self, turning: Turning) -> &mut VecDeque<(UndoStep, usize)> {
        match turning {
            Turning::Undo => &mut self.undo,
            Turning::Redo => &mut self.redo,
        }
    }

    fn push(&mut self, turning: Turning, step: UndoStep) {
        let bytes = step.bytes();
        self.bytes += bytes;
        self.side(turning).push_back((step, bytes));
    }

    fn pop(&mut self, turning: Turning) -> Option<UndoStep> {
        let (step, bytes) = self.side(turning).pop_back()?;
        self.bytes -= bytes;
        Some(step)
    }

    fn clear(&mut self, turning: Turning) {
        let freed: usize = self.side(turning).drain(..).map(|(_, bytes)| bytes).sum();
        self.bytes -= freed;
    }

    /// The oldest go when there are too many, or when they take too much.
    fn trim(&mut self) {
        while self.undo.len() > UNDO_STEPS_MAX || self.bytes > UNDO_BYTES_MAX {
            let Some((_, bytes)) = self.undo.pop_front().or_else(|| self.redo.pop_front()) else { return };
            self.bytes -= bytes;
        }
    }

    fn rename(&mut self, renames: &Renames) {
        self.undo.iter_mut().chain(&mut self.redo).for_each(|(step, _)| step.rename(renames));
    }

    /// An edit was made.
    pub(super) fn edited(&mut self, step: Option<UndoStep>) {
        self.clear(Turning::Redo);
        let Some(step) = step else { return self.clear(Turning::Undo) };
        if step.is_empty() {
            return;
        }
        match self.group {
            Group::Open if !self.undo.is_empty() => {
                if let Some(mut joined) = self.pop(Turning::Undo) {
                    joined.join(step);
                    self.push(Turning::Undo, joined);
                }
            }
            _ => self.push(Turning::Undo, step),
        }
        if self.group == Group::Empty {
            self.group = Group::Open;
        }
        self.trim();
    }

    /// Nothing that was made so far can be undone.
    pub(super) fn forget(&mut self) {
        self.clear(Turning::Undo);
        self.clear(Turning::Redo);
    }
}

impl Engine {
    fn stacks(&mut self, space: SpaceId, doc: DocId) -> Option<&mut UndoStacks> {
        self.documents.get_mut(&(space, doc))?.undo.as_mut()
    }

    /// From now on edits are kept to be undone.
    pub(in crate::client) fn hold_undo(&mut self, space: SpaceId, doc: DocId) -> Result<()> {
        self.loaded(space, doc)?;
        let open = self.documents.entry((space, doc)).or_default();
        open.undo.get_or_insert_default().holders += 1;
        Ok(())
    }

    pub(in crate::client) fn release_undo(&mut self, space: SpaceId, doc: DocId) {
        let Some(open) = self.documents.get_mut(&(space, doc)) else { return };
        let Some(stacks) = &mut open.undo else { return };
        stacks.holders -= 1;
        if stacks.holders == 0 {
            open.undo = None;
        }
    }

    /// Edits are undone together from now on, or each on its own.
    pub(in crate::client) fn group_undo(&mut self, space: SpaceId, doc: DocId, together: bool) {
        if let Some(stacks) = self.stacks(space, doc) {
            stacks.group = if together { Group::Empty } else { Group::Closed };
        }
    }

    /// How many steps there are.
    pub(in crate::client) fn undo_steps(&mut self, space: SpaceId, doc: DocId, turning: Turning) -> usize {
        self.stacks(space, doc).map_or(0, |stacks| stacks.side(turning).len())
    }

    /// Undoes the last edit of this device, or its last undo, that others have not made pointless; `None` if there is none.
    pub(in crate::client) fn undo(
        &mut self,
        space: SpaceId,
        doc: DocId,
        turning: Turning,
    ) -> Result<Option<(u64, Vec<Patch>)>> {
        self.may_edit(space)?;
        self.loaded(space, doc)?;
        while let Some(step) = self.stacks(space, doc).and_then(|stacks| stacks.pop(turning)) {
            let written = self.write(space, doc, |document, _| {
                let Undone { ops, edited, redo, renames } = document.undo(&step, &mut clock::random)?;
                Ok(Made { ops, edited, with: (redo, renames) })
            });
            let (edit, patches, (redo, renames)) = match written {
                Ok(Some(written)) => written,
                Ok(None) => continue,
                Err(error) => {
                    // What the disk did not take can be tried again; what is no edit, cannot.
                    let again = !matches!(error, ClientError::Edit(ref edit) if *edit != EditError::Lost);
                    if let (true, Some(stacks)) = (again, self.stacks(space, doc)) {
                        stacks.push(turning, step);
                    }
                    return Err(error);
                }
            };
            if let Some(stacks) = self.stacks(space, doc) {
                stacks.rename(&renames);
                let other = if turning == Turning::Undo { Turning::Redo } else { Turning::Undo };
                match redo {
                    Some(redo) => stacks.push(other, redo),
                    None => stacks.clear(other),
                }
                if stacks.group == Group::Open {
                    stacks.group = Group::Empty;
                }
                stacks.trim();
            }
            return Ok(Some((edit, patches)));
        }
        Ok(None)
    }
}
