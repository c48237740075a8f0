//! Leaving: a store when its user logs out, a space that this device has no more use for.

use sync_core::id::SpaceId;

use super::background::blocking;
use super::client::RejoinClient;
use super::error::RejoinError;
use crate::client;

/// What becomes of a store when its user logs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Leave {
    /// It stays, for when the same user signs in again.
    Keep,
    /// It is deleted, if the server has everything that was written here; else `Unsent`. What the server refused goes with it.
    WipeWhenSent,
    /// It is deleted, whatever the server has, and with it any copies that a damage has left beside it.
    WipeNow,
}

/// What becomes of unsent work in a space that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Removal {
    /// The space is removed only if there is none; else `Unsent`.
    WhenSent,
    /// It goes too, for good.
    Now,
}

#[uniffi::export]
impl RejoinClient {
    /// Shuts the client, and keeps or deletes its store. `Unsent` says how much the server has not got: then nothing has
    /// happened, and the client goes on. A kill half-way leaves the whole store, or none. What signs the device in is another
    /// matter: `Session.log_out`.
    pub async fn leave(&self, how: Leave) -> Result<(), RejoinError> {
        let client = self.open.client()?;
        let how = match how {
            Leave::Keep => client::Leave::Keep,
            Leave::WipeWhenSent => client::Leave::WipeWhenSent,
            Leave::WipeNow => client::Leave::WipeNow,
        };
        let left = blocking(move || client.leave(how)).await;
        let gone = self.with(|client| Ok::<_, RejoinError>(client.has_left()))?;
        if gone {
            self.shutdown();
        }
        left
    }

    /// Takes part in a space no longer: its documents leave this device, not the server. Where access was lost for good, this
    /// is what ends the trouble `NoAccess`. After a later `add_space` everything comes from the server again, but for what it
    /// never got.
    pub fn remove_space(&self, space: SpaceId, unsent: Removal) -> Result<(), RejoinError> {
        let unsent = match unsent {
            Removal::WhenSent => client::Removal::WhenSent,
            Removal::Now => client::Removal::Now,
        };
        self.with(|client| client.remove_space(space, unsent))
    }
}
