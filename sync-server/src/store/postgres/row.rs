//! Columns to values and back. What cannot be read is a fault of the database, never of the request.

use sync_core::feed::{ChangeId, ItemKind};
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::ledger::Role;
use sync_core::log::{Header, Verdict};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::super::StoreError;
pub(super) use super::super::entry::corrupt;

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, StoreError> {
    row.try_get(at).map_err(|error| StoreError::Fault(error.into()))
}

pub(super) fn hash(row: &Row, at: usize) -> Result<Hash, StoreError> {
    Hash::from_slice(get(row, at)?).map_err(|error| StoreError::Fault(error.into()))
}

/// Hashes one behind the other; none where there is nothing.
pub(super) fn hashes(row: &Row, at: usize) -> Result<Vec<Hash>, StoreError> {
    super::super::entry::hashes(get(row, at)?)
}

pub(super) fn space(row: &Row, at: usize) -> Result<SpaceId, StoreError> {
    Ok(SpaceId::from_bytes(get::<Uuid>(row, at)?.into_bytes()))
}

pub(super) fn device(row: &Row, at: usize) -> Result<DeviceId, StoreError> {
    Ok(DeviceId::from_bytes(get::<Uuid>(row, at)?.into_bytes()))
}

pub(super) fn doc(row: &Row, at: usize) -> Result<DocId, StoreError> {
    Ok(DocId::from_bytes(get::<Uuid>(row, at)?.into_bytes()))
}

/// A number that is never negative. They stay far below 2⁶³, so a sign can only come from corruption.
pub(super) fn number(row: &Row, at: usize) -> Result<u64, StoreError> {
    u64::try_from(get::<i64>(row, at)?).map_err(|_| corrupt("number"))
}

fn small<T>(value: i64, read: impl FnOnce(u8) -> Option<T>, what: &'static str) -> Result<T, StoreError> {
    u8::try_from(value).ok().and_then(read).ok_or_else(|| corrupt(what))
}

pub(super) fn verdict(value: impl Into<i64>) -> Result<Verdict, StoreError> {
    small(value.into(), Verdict::from_number, "verdict")
}

pub(super) fn role(value: impl Into<i64>) -> Result<Role, StoreError> {
    small(value.into(), Role::from_number, "role")
}

/// A header from six columns that begin at `at`: device, n, kind, document, hash, verdict.
pub(super) fn header(row: &Row, at: usize) -> Result<Header, StoreError> {
    let kind = small(get::<i16>(row, at + 2)?.into(), ItemKind::from_number, "kind")?;
    Ok(Header {
        id: ChangeId { device: device(row, at)?, n: number(row, at + 1)? },
        kind,
        doc: doc(row, at + 3)?,
        hash: hash(row, at + 4)?,
        verdict: verdict(get::<i16>(row, at + 5)?)?,
    })
}

pub(super) fn uuid(id: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*id)
}
