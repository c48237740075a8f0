//! When the server took changes, by its clock: beside the changes, and for those that stand in a snapshot alone, in a row of
//! their document. Nothing is decided by it.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};
use sync_core::feed::ChangeId;
use sync_core::id::{DocId, Hash, SpaceId};
use sync_core::limits::HISTORY_MAX;

use super::{Result, Writer};

/// The first bytes of a hash: enough to tell the changes of one document apart, for people.
const HASH_BYTES: usize = 6;
/// Seconds, as long as people will count them.
const TIME_BYTES: usize = 5;
type Key = [u8; HASH_BYTES];

fn key(hash: &Hash) -> Key {
    std::array::from_fn(|at| hash.0[at])
}

impl Writer<'_> {
    /// Notes when an item was taken that is here already.
    pub(in crate::client) fn set_taken(&self, space: SpaceId, id: ChangeId, taken_s: u64) -> Result<()> {
        self.run(
            "UPDATE items SET taken_s = ?4 WHERE space_id = ?1 AND device_id = ?2 AND n = ?3 AND taken_s IS NOT ?4",
            params![space.as_bytes(), id.device.as_bytes(), id.n, taken_s],
        )?;
        Ok(())
    }

    /// Notes when changes of a document were taken that have no row of their own, in the order of the log. The history of a
    /// document never tells of more than [`HISTORY_MAX`] changes, so no more are kept.
    pub(in crate::client) fn keep_times(&self, space: SpaceId, doc: DocId, times: &[(Hash, u64)]) -> Result<()> {
        if times.is_empty() {
            return Ok(());
        }
        let mut kept: BTreeMap<Key, u64> = self.kept_times(space, doc)?.into_iter().collect();
        kept.extend(times.iter().map(|(hash, taken_s)| (key(hash), *taken_s)));
        let mut kept: Vec<(u64, Key)> = kept.into_iter().map(|(key, taken_s)| (taken_s, key)).collect();
        kept.sort_unstable();
        let newest = &kept[kept.len().saturating_sub(HISTORY_MAX)..];
        let mut bytes: Vec<u8> = Vec::with_capacity(newest.len() * (HASH_BYTES + TIME_BYTES));
        for (taken_s, key) in newest {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(&taken_s.to_be_bytes()[8 - TIME_BYTES..]);
        }
        self.run(
            "INSERT INTO times VALUES (?1, ?2, ?3) ON CONFLICT (space_id, doc_id) DO UPDATE SET taken = ?3",
            params![space.as_bytes(), doc.as_bytes(), bytes],
        )?;
        Ok(())
    }

    fn kept_times(&self, space: SpaceId, doc: DocId) -> Result<Vec<(Key, u64)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT taken FROM times WHERE space_id = ?1 AND doc_id = ?2")?;
        let found = statement.query_row(params![space.as_bytes(), doc.as_bytes()], |row| row.get(0)).optional()?;
        let bytes: Vec<u8> = found.unwrap_or_default();
        let entry = |entry: &[u8]| {
            let mut taken_s = [0; 8];
            taken_s[8 - TIME_BYTES..].copy_from_slice(entry.last_chunk::<TIME_BYTES>()?);
            Some((*entry.first_chunk()?, u64::from_be_bytes(taken_s)))
        };
        Ok(bytes.chunks_exact(HASH_BYTES + TIME_BYTES).filter_map(entry).collect())
    }

    /// Keeps the times of changes whose rows are about to go: of a document, up to a place of the log.
    pub(super) fn keep_times_through(&self, space: SpaceId, doc: DocId, through: u64) -> Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT hash, taken_s FROM items WHERE space_id = ?1 AND doc_id = ?2 AND kind = 2 AND verdict = 0 \
             AND taken_s IS NOT NULL AND seq <= ?3 ORDER BY seq DESC LIMIT ?4",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes(), through, HISTORY_MAX as u64])?;
        let mut times = Vec::new();
        while let Some(row) = rows.next()? {
            times.push((Hash(row.get(0)?), row.get(1)?));
        }
        self.keep_times(space, doc, &times)
    }

    /// When changes of a document were taken, as far as is known.
    pub(in crate::client) fn times(&self, space: SpaceId, doc: DocId, of: &[Hash]) -> Result<BTreeMap<Hash, u64>> {
        let wanted: BTreeMap<Key, Hash> = of.iter().map(|hash| (key(hash), *hash)).collect();
        let kept = self.kept_times(space, doc)?;
        let mut found: BTreeMap<Hash, u64> =
            kept.iter().filter_map(|(key, taken_s)| Some((*wanted.get(key)?, *taken_s))).collect();
        let mut statement = self.connection.prepare_cached(
            "SELECT hash, taken_s FROM items WHERE space_id = ?1 AND doc_id = ?2 AND kind = 2 AND taken_s IS NOT NULL",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes()])?;
        while let Some(row) = rows.next()? {
            let hash = Hash(row.get(0)?);
            if wanted.get(&key(&hash)) == Some(&hash) {
                found.insert(hash, row.get(1)?);
            }
        }
        Ok(found)
    }

    /// A document begins anew, or is gone: nobody asks when what it was came.
    pub(super) fn forget_times(&self, space: SpaceId, doc: DocId) -> Result<()> {
        self.run("DELETE FROM times WHERE space_id = ?1 AND doc_id = ?2", params![space.as_bytes(), doc.as_bytes()])?;
        Ok(())
    }
}
