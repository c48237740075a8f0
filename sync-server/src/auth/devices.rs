//! Whether the device that a token names may still call, and its session goes on: asked of the registry, by whoever comes
//! first, and remembered for less than a second.

use std::sync::Arc;
use std::time::Instant;

use super::token::Access;
use crate::error::ApiError;
use crate::store::devices::{DeviceStanding, Standing};
use crate::store::registry::Registry;

mod known;

pub(crate) use known::Known;

/// Lets devices through that are not cut off.
pub(crate) struct DeviceGate {
    registry: Arc<dyn Registry>,
    known: Arc<Known>,
}

impl DeviceGate {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, known: Arc::default() }
    }

    /// What it remembers, for whoever hears that somebody was cut off.
    pub(crate) fn known(&self) -> &Arc<Known> {
        &self.known
    }

    /// Whether what a token allows is allowed still, as of less than a second ago. Where nobody can be asked, nobody
    /// comes through.
    pub(crate) async fn pass(&self, access: &Access) -> Result<(), ApiError> {
        let (caller, session) = (&access.caller, access.session);
        let entry = self.known.entry(&caller.user, caller.device, session, Instant::now());
        let ask = || self.registry.standing(&caller.user, caller.device, session);
        judge(entry.standing(Instant::now, ask).await?, access)
    }

    /// The same as of now.
    pub(crate) async fn look(&self, access: &Access) -> Result<(), ApiError> {
        let (caller, session) = (&access.caller, access.session);
        judge(self.registry.standing(&caller.user, caller.device, session).await?, access)
    }
}

fn judge(standing: Standing, access: &Access) -> Result<(), ApiError> {
    match standing.device {
        Some(DeviceStanding::Revoked) => Err(ApiError::device_revoked()),
        None if access.must_be_registered() => Err(ApiError::unauthorized("a device that is not registered")),
        _ if !standing.session_goes_on => Err(ApiError::session_ended("the token's session is over")),
        // Whoever has our key to sign with may name devices that nobody has registered.
        Some(DeviceStanding::Registered) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
