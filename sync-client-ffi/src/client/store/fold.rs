//! Old changes of a document in one snapshot, in place of a row for each.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};
use sync_core::feed::FeedHead;
use sync_core::graft::Grafts;
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::limits::{PHONE_FOLD_BYTES_MAX, PHONE_FOLD_CHANGES_MAX, SNAPSHOT_PART_BYTES_MAX};

use super::spaces::hash;
use super::{Result, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "items" };

/// Changes of others and own ones that the server has taken, behind a place of the log (`?3`) up to another one (`?4`).
const FOLDED: &str = "space_id = ?1 AND doc_id = ?2 AND kind = 2 AND verdict = 0 AND seq > ?3 AND seq <= ?4";

/// Own changes that end right before one that is out of the document: where its edits begin is told by them alone.
const BEFORE_REFUSED: &str = "SELECT COALESCE((SELECT MAX(p.arrival) FROM items p \
    WHERE p.space_id = ?1 AND p.doc_id = ?2 AND p.last_edit > 0 AND p.arrival < k.arrival), 0) FROM items k \
    WHERE k.space_id = ?1 AND k.doc_id = ?2 AND k.last_edit > 0 AND (k.verdict > 0 OR k.out <> 0)";

/// What of a document can be folded.
#[derive(Debug)]
pub(in crate::client) struct Foldable {
    /// What it begins with now.
    pub(in crate::client) from: Option<(u64, Hash)>,
    /// The bytes of that.
    pub(in crate::client) snapshot: Option<Vec<u8>>,
    /// The changes behind it up to `through`, in the order of the log.
    pub(in crate::client) changes: Vec<Vec<u8>>,
    pub(in crate::client) through: u64,
    /// How what is in the snapshot stands, and all changes that the log excludes.
    pub(in crate::client) grafts: Grafts,
    pub(in crate::client) excluded: Vec<Hash>,
}

impl Writer<'_> {
    /// Up to which place a space was looked through.
    pub(in crate::client) fn looked_through(&self, space: SpaceId) -> Result<u64> {
        let mut statement = self.connection.prepare_cached("SELECT seq FROM folds WHERE space_id = ?1")?;
        Ok(statement.query_row([space.as_bytes()], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    pub(in crate::client) fn set_looked_through(&self, space: SpaceId, seq: u64) -> Result<()> {
        self.run(
            "INSERT INTO folds (space_id, seq) VALUES (?1, ?2) ON CONFLICT (space_id) DO UPDATE SET seq = ?2",
            params![space.as_bytes(), seq],
        )?;
        Ok(())
    }

    /// Documents with changes behind a place up to another one, as far as `rows_max` entries tell; and up to where they do.
    pub(in crate::client) fn changed_between(
        &self,
        space: SpaceId,
        after: u64,
        through: u64,
        rows_max: u64,
    ) -> Result<(BTreeSet<DocId>, u64)> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, doc_id FROM items WHERE space_id = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), after, through, rows_max])?;
        let (mut docs, mut found, mut last) = (BTreeSet::new(), 0, after);
        while let Some(row) = rows.next()? {
            let doc: Vec<u8> = row.get(1)?;
            docs.insert(DocId::from_slice(&doc).map_err(|_| ROW)?);
            (found, last) = (found + 1, row.get(0)?);
        }
        Ok((docs, if found < rows_max { through } else { last }))
    }

    /// What of a document can be folded up to a place; `None` where that is fewer than `changes_min`, or where something stands
    /// in the way: a snapshot on its way, or a change that is out of the document though the server took it.
    pub(in crate::client) fn foldable(
        &self,
        space: SpaceId,
        doc: DocId,
        through: u64,
        changes_min: u64,
    ) -> Result<Option<Foldable>> {
        if self.coming(space, doc)?.is_some() || self.hole(space, doc)?.is_some() {
            return Ok(None);
        }
        let from = self.snapshot(space, doc)?;
        let after = from.map_or(0, |(seq, _)| seq);
        let range = params![space.as_bytes(), doc.as_bytes(), after, through];
        let count = format!("SELECT COUNT(*), COUNT(payload), COALESCE(SUM(out), 0) FROM items WHERE {FOLDED}");
        let mut statement = self.connection.prepare_cached(&count)?;
        let (rows, whole, out): (u64, u64, u64) =
            statement.query_row(range, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if rows < changes_min || whole < rows || out > 0 {
            return Ok(None);
        }
        let sql = format!("SELECT seq, payload FROM items WHERE {FOLDED} ORDER BY seq LIMIT {PHONE_FOLD_CHANGES_MAX}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut found = statement.query(range)?;
        let (mut changes, mut bytes, mut last) = (Vec::new(), 0, after);
        while let Some(row) = found.next()? {
            let payload: Vec<u8> = row.get(1)?;
            bytes += payload.len();
            if bytes > PHONE_FOLD_BYTES_MAX && !changes.is_empty() {
                break;
            }
            last = row.get(0)?;
            changes.push(payload);
        }
        let snapshot = from.map(|(_, of)| self.snapshot_bytes(space, doc, of)).transpose()?;
        // Nothing of the document lies between the last one and `through`, if all of them were taken.
        let through = if (changes.len() as u64) < rows { last } else { through };
        let (grafts, excluded) = (self.grafts(space, doc)?, self.exclusions(space, doc)?);
        Ok(Some(Foldable { from, snapshot, changes, through, grafts, excluded }))
    }

    /// The document begins with this from now on, and what it covers goes, but for what something else here refers to.
    pub(in crate::client) fn put_folded(
        &self,
        space: SpaceId,
        doc: DocId,
        device: DeviceId,
        foldable: &Foldable,
        (of, bytes): (Hash, &[u8]),
        grafts: Option<&[u8]>,
    ) -> Result<()> {
        let (id, key) = (space.as_bytes(), doc.as_bytes());
        // Own ones that the snapshot before covered are kept when it comes from the server.
        let after = 0;
        self.run("DELETE FROM snapshot_parts WHERE space_id = ?1 AND doc_id = ?2", params![id, key])?;
        self.run(
            "INSERT OR REPLACE INTO snapshots VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5, ?6)",
            params![id, key, foldable.through, of.0, bytes.len(), grafts],
        )?;
        for (part, at) in bytes.chunks(SNAPSHOT_PART_BYTES_MAX).zip((0u64..).step_by(SNAPSHOT_PART_BYTES_MAX)) {
            self.run("INSERT INTO snapshot_parts VALUES (?1, ?2, ?3, ?4, ?5)", params![id, key, of.0, at, part])?;
        }
        let range = params![id, key, after, foldable.through];
        self.run(
            &format!(
                "UPDATE documents SET folded_edits = MAX(folded_edits, \
                 (SELECT COALESCE(MAX(last_edit), 0) FROM items WHERE {FOLDED})) WHERE space_id = ?1 AND doc_id = ?2"
            ),
            range,
        )?;
        self.run(
            &format!(
                "UPDATE folds SET device_id = ?5, own_n = i.n, own_chain = i.chain, own_seq = i.seq \
                 FROM (SELECT n, chain, seq FROM items WHERE {FOLDED} AND device_id = ?5 ORDER BY n DESC LIMIT 1) i \
                 WHERE folds.space_id = ?1 AND (device_id IS NOT ?5 OR own_n < i.n)"
            ),
            params![id, key, after, foldable.through, device.as_bytes()],
        )?;
        self.keep_times_through(space, doc, foldable.through)?;
        self.run(
            &format!(
                "DELETE FROM items WHERE {FOLDED} AND out = 0 AND arrival NOT IN ({BEFORE_REFUSED}) AND NOT EXISTS (SELECT 1 FROM remade r WHERE r.space_id = ?1 AND \
                 ((r.device_id = items.device_id AND r.n = items.n) OR (r.by_device = items.device_id AND r.by_n = items.n))) \
                 AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.space_id = ?1 AND q.device_id = items.device_id \
                 AND q.n = items.n)"
            ),
            range,
        )?;
        Ok(())
    }

    /// The last item of a device that is kept in a snapshot alone: its place in the feed, and that in the log.
    pub(in crate::client) fn folded_own(&self, space: SpaceId, device: DeviceId) -> Result<Option<(FeedHead, u64)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT own_n, own_chain, own_seq FROM folds WHERE space_id = ?1 AND device_id = ?2")?;
        let key = params![space.as_bytes(), device.as_bytes()];
        let row: Option<(u64, Vec<u8>, u64)> =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        row.map(|(n, chain, seq)| Ok((FeedHead { n, chain: hash(&chain, "folds")? }, seq))).transpose()
    }

    /// The last edit of this device that is in a document's snapshot, and up to where that covers the log.
    pub(in crate::client) fn folded_edits(&self, space: SpaceId, doc: DocId) -> Result<(u64, u64)> {
        let mut statement =
            self.connection.prepare_cached("SELECT folded_edits FROM documents WHERE space_id = ?1 AND doc_id = ?2")?;
        let key = params![space.as_bytes(), doc.as_bytes()];
        let edits = statement.query_row(key, |row| row.get(0)).optional()?.unwrap_or(0);
        Ok((edits, self.snapshot(space, doc)?.map_or(0, |(seq, _)| seq)))
    }

    /// A log goes on in another way behind a place: no snapshot says anything of what is to come there.
    pub(super) fn cut_snapshots(&self, space: SpaceId, after: u64) -> Result<()> {
        // What covers nothing is no snapshot; and no change is ever the first entry of a log.
        self.run(
            "UPDATE snapshots SET seq = ?2 WHERE space_id = ?1 AND seq > ?2",
            params![space.as_bytes(), after.max(1)],
        )?;
        self.run("UPDATE folds SET seq = ?2 WHERE space_id = ?1 AND seq > ?2", params![space.as_bytes(), after])?;
        Ok(())
    }
}
