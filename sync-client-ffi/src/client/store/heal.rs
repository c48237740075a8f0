//! The log of a space as it is stored here, and taking its end back when the server's goes on in another way.

use rusqlite::params;
use sync_core::code::RejectCode;
use sync_core::feed::{ChangeId, ItemKind};
use sync_core::heal::{Held, Page, hand_back};
use sync_core::id::{DeviceId, DocId, SpaceId};
use sync_core::log::{Entry, Header, Verdict};

use super::spaces::hash;
use super::{Result, Store, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "items" };

/// Entries in the order of the log. Exclusions are kept beside the items that they are about.
const LOG: &str = "SELECT seq, device_id, n, kind, doc_id, hash, verdict, CASE WHEN ?4 THEN payload END FROM items \
    WHERE space_id = ?1 AND seq > ?2 AND seq <= ?3 \
    UNION ALL SELECT seq, device_id, n, 4, doc_id, hash, 25, NULL FROM exclusions \
    WHERE space_id = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?5";

/// The log of one space, read beside whatever else is done with the store.
#[derive(Debug)]
pub(in crate::client) struct StoredLog {
    pub(in crate::client) store: Store,
    pub(in crate::client) space: SpaceId,
}

impl Held for StoredLog {
    type Error = StoreError;

    fn entries(&self, after: u64, through: u64, page: Page) -> Result<Vec<Entry>> {
        self.store.read().log(self.space, after, through, page)
    }
}

impl Writer<'_> {
    /// Entries behind the place `after` up to `through`, without a hole.
    fn log(&self, space: SpaceId, after: u64, through: u64, page: Page) -> Result<Vec<Entry>> {
        let mut statement = self.connection.prepare_cached(LOG)?;
        let limit = i64::try_from(page.entries_max.max(1)).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![space.as_bytes(), after, through, page.bytes_max.is_some(), limit])?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let (seq, device, n, kind): (u64, Vec<u8>, u64, u8) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let (doc, declared, verdict): (Vec<u8>, Vec<u8>, Option<u8>) = (row.get(4)?, row.get(5)?, row.get(6)?);
            let payload: Option<Vec<u8>> = row.get(7)?;
            if seq != after + 1 + entries.len() as u64 {
                break;
            }
            bytes += payload.as_ref().map_or(0, Vec::len);
            if !entries.is_empty() && page.bytes_max.is_some_and(|bytes_max| bytes > bytes_max) {
                break;
            }
            let id = ChangeId { device: DeviceId::from_slice(&device).map_err(|_| ROW)?, n };
            let kind = ItemKind::from_number(kind).ok_or(ROW)?;
            let doc = DocId::from_slice(&doc).map_err(|_| ROW)?;
            let verdict = verdict.and_then(Verdict::from_number).ok_or(ROW)?;
            let header = Header { id, kind, doc, hash: hash(&declared, "items")?, verdict };
            entries.push(hand_back::entry(header, payload));
        }
        Ok(entries)
    }

    /// Takes the places behind `after` from what has them: items get others when the log is read again.
    pub(in crate::client) fn forget_places(&self, space: SpaceId, after: u64) -> Result<()> {
        for table in ["items", "exclusions"] {
            let forget = format!("UPDATE {table} SET seq = NULL WHERE space_id = ?1 AND seq > ?2");
            self.run(&forget, params![space.as_bytes(), after])?;
        }
        self.cut_snapshots(space, after)
    }

    /// The last item of a device that has a place in the log.
    pub(in crate::client) fn last_placed(&self, space: SpaceId, device: DeviceId) -> Result<u64> {
        let mut statement = self.connection.prepare_cached(
            "SELECT COALESCE(MAX(n), 0) FROM items WHERE space_id = ?1 AND device_id = ?2 AND seq IS NOT NULL",
        )?;
        Ok(statement.query_row(params![space.as_bytes(), device.as_bytes()], |row| row.get(0))?)
    }
}

const _: () =
    assert!(ItemKind::Exclude.number() == 4 && RejectCode::BreaksDocument.number() == 25, "queries here say so");

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    /// A million items must not be read for a page of the log, nor to forget its end.
    #[test]
    fn the_log_is_read_in_its_order_from_an_index() {
        let store = Connection::open_in_memory().unwrap();
        for migration in super::super::open::MIGRATIONS {
            store.execute_batch(migration).unwrap();
        }
        for (sql, index) in [
            (super::LOG, "items_by_seq"),
            (super::LOG, "exclusions_by_seq"),
            ("UPDATE items SET seq = NULL WHERE space_id = ?1 AND seq > ?2", "items_by_seq"),
        ] {
            let mut plan = store.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let parameters = rusqlite::params_from_iter(vec![rusqlite::types::Null; plan.parameter_count()]);
            let plan: Vec<String> =
                plan.query_map(parameters, |row| row.get(3)).unwrap().collect::<Result<_, _>>().unwrap();
            assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
            assert!(plan.iter().all(|step| !step.starts_with("SCAN") && !step.contains("TEMP B-TREE")), "{plan:?}");
        }
    }
}
