//! Forgetting a document's history.

use super::Doc;
use super::error::ClientError;

impl Doc {
    /// Begins a new epoch of the document: the same content, without the history before it, so that it takes as much room as
    /// what it shows, here and everywhere. Only an owner of the space may do that. Gives the number of the epoch.
    ///
    /// It takes effect when the server has taken it, which it does once the document has not moved on meanwhile and every
    /// device that was active lately has read it so far. If not, it is refused with
    /// [`EpochEarly`](sync_core::code::RejectCode::EpochEarly) and nothing has changed; try again later. A device that was
    /// away loses nothing: what it wrote upon the old epoch is made anew upon the new one when it comes back, and what cannot
    /// be, since what it changes is gone, goes into quarantine there. Versions from before cannot be looked at any more
    /// ([`NoChange`](ClientError::NoChange)), nor edits from before be undone, and of values in conflict the one that is shown
    /// stays.
    ///
    /// Everything of the space has to be on the server and read back, or it is [`Unsettled`](ClientError::Unsettled).
    pub fn start_epoch(&self) -> Result<u64, ClientError> {
        let number = self.client.engine().start_epoch(self.space(), self.id())?;
        self.client.shared.inbox.edited(self.space());
        Ok(number)
    }

    /// How many epochs the document has begun, as it is shown here.
    pub fn epoch(&self) -> Result<u64, ClientError> {
        self.client.engine().epoch(self.space(), self.id())
    }
}
