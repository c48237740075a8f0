//! What every store must find in its log, whatever its rows look like.

use sync_core::feed::{Body, ItemKind};
use sync_core::log::{Header, Verdict};

use super::StoreError;

/// What a column should have held.
pub(super) fn corrupt(what: &'static str) -> StoreError {
    StoreError::Fault(format!("the database holds no valid {what}").into())
}

/// What an entry carries, from the payload that is stored with it, and how many payload bytes that is.
pub(crate) fn body(header: &Header, payload: Option<Vec<u8>>) -> Result<(Option<Body>, usize), StoreError> {
    if header.verdict != Verdict::Applied {
        return Ok((None, 0));
    }
    if header.kind == ItemKind::Delete {
        return Ok((Some(Body::Delete), 0));
    }
    let bytes = payload.ok_or_else(|| corrupt("payload"))?;
    let length = bytes.len();
    let body = match header.kind {
        ItemKind::Create => Body::Create { collection: String::from_utf8(bytes).map_err(|_| corrupt("collection"))? },
        _ => Body::Change { bytes },
    };
    Ok((Some(body), length))
}
