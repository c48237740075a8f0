//! Columns to values. What cannot be read is a fault of the database, never of the request.

use rusqlite::Row;
use sync_core::feed::{ChangeId, ItemKind};
use sync_core::id::{DeviceId, DocId, Hash, IdError};
use sync_core::ledger::Role;
use sync_core::log::{Header, Verdict};

use super::super::StoreError;
pub(super) use super::super::entry::corrupt;

fn blob<T>(row: &Row<'_>, at: usize, read: impl FnOnce(&[u8]) -> Result<T, IdError>) -> Result<T, StoreError> {
    let value = row.get_ref(at)?;
    let bytes = value.as_blob().map_err(|error| StoreError::Fault(error.into()))?;
    read(bytes).map_err(|error| StoreError::Fault(error.into()))
}

pub(super) fn hash(row: &Row<'_>, at: usize) -> Result<Hash, StoreError> {
    blob(row, at, Hash::from_slice)
}

/// Hashes one behind the other; none where there is nothing.
pub(super) fn hashes(row: &Row<'_>, at: usize) -> Result<Vec<Hash>, StoreError> {
    super::super::entry::hashes(row.get_ref(at)?.as_blob_or_null().map_err(|error| StoreError::Fault(error.into()))?)
}

pub(super) fn device(row: &Row<'_>, at: usize) -> Result<DeviceId, StoreError> {
    blob(row, at, DeviceId::from_slice)
}

pub(super) fn doc(row: &Row<'_>, at: usize) -> Result<DocId, StoreError> {
    blob(row, at, DocId::from_slice)
}

pub(super) fn space(row: &Row<'_>, at: usize) -> Result<sync_core::id::SpaceId, StoreError> {
    blob(row, at, sync_core::id::SpaceId::from_slice)
}

/// A number that is never negative. They stay far below 2⁶³, so a sign can only come from corruption.
pub(super) fn number(row: &Row<'_>, at: usize) -> Result<u64, StoreError> {
    let value: i64 = row.get(at)?;
    u64::try_from(value).map_err(|_| corrupt("number"))
}

pub(super) fn verdict(row: &Row<'_>, at: usize) -> Result<Verdict, StoreError> {
    Verdict::from_number(row.get(at)?).ok_or_else(|| corrupt("verdict"))
}

pub(super) fn role(row: &Row<'_>, at: usize) -> Result<Role, StoreError> {
    Role::from_number(row.get(at)?).ok_or_else(|| corrupt("role"))
}

/// A header from six columns that begin at `at`: device, n, kind, document, hash, verdict.
pub(super) fn header(row: &Row<'_>, at: usize) -> Result<Header, StoreError> {
    let kind = ItemKind::from_number(row.get(at + 2)?).ok_or_else(|| corrupt("kind"))?;
    Ok(Header {
        id: ChangeId { device: device(row, at)?, n: number(row, at + 1)? },
        kind,
        doc: doc(row, at + 3)?,
        hash: hash(row, at + 4)?,
        verdict: verdict(row, at + 5)?,
    })
}
