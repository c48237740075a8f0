//! Leaving: a store when its user logs out, a space that this device has no more use for.

use sync_core::id::SpaceId;
use sync_core::session::Status;

use super::error::ClientError;
use super::{Client, lock, runner};

/// What becomes of a store when its user logs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It stays, for when the same user signs in again.
    Keep,
    /// It is deleted, if the server has everything that was written here. What the server refused goes with it.
    WipeWhenSent,
    /// It is deleted, whatever the server has, and with it any copies that a damage has left beside it.
    WipeNow,
}

/// What becomes of unsent work in a space that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The space is removed only if there is none.
    WhenSent,
    /// It goes too.
    Now,
}

impl Client {
    /// Closes the client for good, and keeps or deletes its store. All handles say [`Left`](ClientError::Left) from then on,
    /// and the file may be opened anew. What signs the device in is another matter:
    /// [`log_out`](super::account::Account::log_out).
    ///
    /// With [`WipeWhenSent`](Leave::WipeWhenSent), [`Unsent`](ClientError::Unsent) says how much the server has not got; then
    /// nothing has happened, and the client goes on. A kill half-way leaves the whole store, or none.
    ///
    /// ```no_run
    /// # use sync_client_ffi::{Client, ClientError, Leave};
    /// # fn ask(text: String) -> bool { false }
    /// # fn f(client: &Client) -> Result<(), ClientError> {
    /// match client.leave(Leave::WipeWhenSent) {
    ///     Err(ClientError::Unsent { edits, changes }) if ask(format!("{} unsent, delete?", edits + changes)) => {
    ///         client.leave(Leave::WipeNow)
    ///     }
    ///     done => done,
    /// }
    /// # }
    /// ```
    pub fn leave(&self, how: Leave) -> Result<(), ClientError> {
        if how != Leave::Keep {
            // It is another process's.
            self.engine().check_writable()?;
        }
        let running = runner::is_running(&self.shared);
        runner::stop(&self.shared);
        let closed = self.close_for(how);
        if closed.is_err() && running {
            runner::start(&self.shared)?;
        }
        let store = closed?;
        self.shared.inbox.forget();
        self.shared.observers.close();
        self.shared.show(Status::Offline);
        self.shared.arrived.notify_all();
        match how {
            Leave::Keep => drop(store),
            Leave::WipeWhenSent => store.wipe(false)?,
            Leave::WipeNow => store.wipe(true)?,
        }
        Ok(())
    }

    /// Whether this client has left its store.
    pub(crate) fn has_left(&self) -> bool {
        self.engine().is_open().is_err()
    }

    fn close_for(&self, how: Leave) -> Result<super::store::Store, ClientError> {
        let mut engine = self.engine();
        engine.is_open()?;
        // Under one lock, so that no edit comes in between.
        if how == Leave::WipeWhenSent {
            let spaces: Vec<SpaceId> = engine.spaces.keys().copied().collect();
            let (mut edits, mut changes) = (0, 0);
            for space in spaces {
                let (journal_edits, outbox_changes) = engine.pending(space)?;
                edits += journal_edits;
                changes += outbox_changes;
            }
            if edits + changes > 0 {
                return Err(ClientError::Unsent { edits, changes });
            }
        }
        engine.close()
    }

    /// Takes part in a space no longer: its documents leave this device, not the server. Where access was lost for good, this
    /// is what ends [`Trouble::NoAccess`](crate::Trouble::NoAccess) and [`SpaceDeleted`](crate::Trouble::SpaceDeleted). After a later [`add_space`](Self::add_space) everything comes from the server again.
    ///
    /// [`Unsent`](ClientError::Unsent) says how much of it the server has not got, unless it is to go too
    /// ([`Removal::Now`]): those changes are lost, also if the space comes back, and so is what is in
    /// [`quarantine`](Self::quarantine). The user's [personal space](Self::personal_space) cannot be removed.
    pub fn remove_space(&self, space: SpaceId, unsent: Removal) -> Result<(), ClientError> {
        {
            let mut engine = self.engine();
            engine.check_writable()?;
            if unsent == Removal::WhenSent {
                let (edits, changes) = engine.pending(space)?;
                if edits + changes > 0 {
                    return Err(ClientError::Unsent { edits, changes });
                }
            }
            engine.remove_space(space)?;
            // Under the lock, so that a space that is added again is added behind this.
            self.shared.inbox.remove(space);
        }
        let observers = &self.shared.observers;
        observers.listed(space);
        observers.collections_anew(space);
        observers.access(space);
        if !runner::is_running(&self.shared)
            && matches!(*lock(&self.shared.status), Status::Error(trouble) if trouble.bars())
        {
            // What the last exchange met there is nobody's affair any more.
            self.shared.show(Status::Offline);
        }
        self.shared.arrived.notify_all();
        Ok(())
    }
}
