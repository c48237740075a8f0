//! A store that is taken away, and a space that is.

use sync_core::id::SpaceId;

use super::{Engine, Result};
use crate::client::error::ClientError;
use crate::client::store::{SpaceRow, Store};

impl Engine {
    /// Refuses what comes after the store was taken away.
    pub(in crate::client) fn is_open(&self) -> Result<()> {
        if self.left { Err(ClientError::Left) } else { Ok(()) }
    }

    /// Takes the store away; nothing is known here any more.
    pub(in crate::client) fn close(&mut self) -> Result<Store> {
        let nowhere = Store::nowhere()?;
        self.left = true;
        self.spaces.clear();
        self.documents.clear();
        self.turns += 1;
        Ok(std::mem::replace(&mut self.store, nowhere))
    }

    /// Takes a space away, with all that is unsent.
    pub(in crate::client) fn remove_space(&mut self, space: SpaceId) -> Result<()> {
        let state = self.space(space)?;
        // Under a label nothing was sent.
        let row = if state.label.is_some() { SpaceRow::new(space, self.device) } else { state.row };
        if space == SpaceId::personal(&self.user) {
            return Err(ClientError::PersonalSpace);
        }
        let device = self.device;
        self.store.transaction(|writer| writer.remove_space(space, device, &row))?;
        self.spaces.remove(&space);
        self.documents.retain(|(of, _), _| *of != space);
        self.turns += 1;
        Ok(())
    }
}
