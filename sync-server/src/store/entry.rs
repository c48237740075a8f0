//! What every store must find in its log, whatever its rows look like.

use sync_core::feed::{Body, ItemKind};
use sync_core::id::Hash;
use sync_core::log::{Header, Verdict};

use super::StoreError;

/// What a column should have held.
pub(super) fn corrupt(what: &'static str) -> StoreError {
    StoreError::Fault(format!("the database holds no valid {what}").into())
}

/// Hashes one behind the other, as a column holds them.
pub(super) fn hashes(column: Option<&[u8]>) -> Result<Vec<Hash>, StoreError> {
    let hashes = column.unwrap_or_default().chunks(32).map(Hash::from_slice);
    hashes.collect::<Result<_, _>>().map_err(|error| StoreError::Fault(error.into()))
}

/// What an entry carries, from the payload that is stored with it, and how many payload bytes that is. `None` where it is a
/// change whose payload is gone.
pub(crate) fn body(header: &Header, payload: Option<Vec<u8>>) -> Result<Option<(Option<Body>, usize)>, StoreError> {
    if header.verdict != Verdict::Applied {
        return Ok(Some((None, 0)));
    }
    if header.kind == ItemKind::Delete {
        return Ok(Some((Some(Body::Delete), 0)));
    }
    let bytes = match (payload, header.kind) {
        (Some(bytes), _) => bytes,
        (None, ItemKind::Change) => return Ok(None),
        (None, _) => return Err(corrupt("payload")),
    };
    let length = bytes.len();
    let body = match header.kind {
        ItemKind::Create => Body::Create { collection: String::from_utf8(bytes).map_err(|_| corrupt("collection"))? },
        ItemKind::Epoch => Body::Epoch { bytes },
        _ => Body::Change { bytes },
    };
    Ok(Some((Some(body), length)))
}
