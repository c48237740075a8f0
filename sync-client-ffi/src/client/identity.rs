//! Whose store it is. A token says so, unverified: the server verifies it, the phone only needs to know its own name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sync_core::id::DeviceId;

use super::engine::AWAITED;
use super::error::OpenError;
use super::store::{Store, StoreError};

/// A user on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) user: String,
    pub(super) device: DeviceId,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    device: DeviceId,
}

impl Identity {
    pub(super) fn of_token(token: &str) -> Option<Self> {
        let claims = token.split('.').nth(1)?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        Some(Self { user: claims.sub, device: claims.device })
    }
}

fn is_other_name(store: &Store, claimed: &Identity) -> Result<bool, StoreError> {
    let awaited = store.read().meta(AWAITED)?.is_some_and(|value| !value.is_empty());
    Ok(awaited || store.read().former()?.contains(&claimed.device))
}

/// Compares what the app says with what the store knows; a new store learns it.
pub(super) fn settle(store: &mut Store, claimed: Option<Identity>) -> Result<Identity, OpenError> {
    let row = || StoreError::Row { table: "meta" };
    let user = store.read().meta("user")?;
    let device = store.read().meta("device")?;
    match (user, device, claimed) {
        (Some(user), Some(device), claimed) => {
            let user = String::from_utf8(user).map_err(|_| row())?;
            let device = DeviceId::from_slice(&device).map_err(|_| row())?;
            let known = Identity { user, device };
            match claimed {
                // A token of a device that this store was, or one that settles which it is.
                Some(claimed) if claimed.user == known.user && is_other_name(store, &claimed)? => Ok(known),
                Some(claimed) if claimed != known => {
                    Err(OpenError::OtherIdentity { user: known.user, device: known.device })
                }
                _ => Ok(known),
            }
        }
        (_, _, None) => Err(OpenError::NoIdentity),
        (_, _, Some(_)) if store.is_read_only() => Err(OpenError::NoIdentity),
        (_, _, Some(claimed)) => {
            store.transaction(|writer| {
                writer.set_meta("user", claimed.user.as_bytes())?;
                writer.set_meta("device", claimed.device.as_bytes())
            })?;
            Ok(claimed)
        }
    }
}
