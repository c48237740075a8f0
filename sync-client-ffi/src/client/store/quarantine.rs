//! Own changes that are out of their documents: what of them nobody else has, and which changes say the rest of it again.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};
use sync_core::code::RejectCode;
use sync_core::document::changes_beyond;
use sync_core::feed::{ChangeId, ItemKind};
use sync_core::graft::Settled;
use sync_core::guard;
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::quarantine::{State, Stored};

use super::exclusions::{Sealed, Standing};
use super::spaces::hash;
use super::{Result, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "quarantine" };

/// A row of `quarantine`.
#[derive(Debug, Clone)]
pub(in crate::client) struct KeptEntry {
    pub(in crate::client) id: ChangeId,
    pub(in crate::client) doc: DocId,
    pub(in crate::client) code: RejectCode,
    /// Which of its operations; `None` for all.
    pub(in crate::client) operations: Option<Vec<u32>>,
    pub(in crate::client) offers: u64,
    pub(in crate::client) since_ms: u64,
}

/// A change of a document with its place in its feed.
#[derive(Debug)]
pub(in crate::client) struct StoredChange {
    pub(in crate::client) id: ChangeId,
    pub(in crate::client) change: Stored,
    /// Whether this device wrote it.
    pub(in crate::client) own: bool,
}

/// Changes in which operations of another one were made anew, and which operations.
type Copies = Vec<(Hash, Vec<u32>)>;

fn packed(operations: &[u32]) -> Vec<u8> {
    operations.iter().flat_map(|index| index.to_le_bytes()).collect()
}

fn unpacked(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

fn id(device: &[u8], n: u64) -> Result<ChangeId> {
    Ok(ChangeId { device: DeviceId::from_slice(device).map_err(|_| ROW)?, n })
}

impl Writer<'_> {
    /// Everything in quarantine, of one document or of all, in the order in which it was written.
    pub(in crate::client) fn quarantine(&self, space: SpaceId, doc: Option<DocId>) -> Result<Vec<KeptEntry>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT q.device_id, q.n, q.doc_id, q.code, q.operations, q.offers, q.since_ms FROM quarantine q \
             LEFT JOIN items i USING (space_id, device_id, n) WHERE q.space_id = ?1 AND (?2 IS NULL OR q.doc_id = ?2) \
             ORDER BY i.arrival, q.n",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.map(|doc| doc.as_bytes().to_vec())])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let (device, doc): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(2)?);
            let operations: Option<Vec<u8>> = row.get(4)?;
            entries.push(KeptEntry {
                id: id(&device, row.get(1)?)?,
                doc: DocId::from_slice(&doc).map_err(|_| ROW)?,
                code: RejectCode::from_number(row.get(3)?).ok_or(ROW)?,
                operations: operations.map(|bytes| unpacked(&bytes)),
                offers: row.get(5)?,
                since_ms: row.get(6)?,
            });
        }
        Ok(entries)
    }

    pub(in crate::client) fn set_quarantine(&self, space: SpaceId, entry: &KeptEntry) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO quarantine VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                space.as_bytes(),
                entry.id.device.as_bytes(),
                entry.id.n,
                entry.doc.as_bytes(),
                entry.code.number(),
                entry.operations.as_deref().map(packed),
                entry.offers,
                entry.since_ms,
            ],
        )?;
        Ok(())
    }

    /// `false` if it was not in quarantine.
    pub(in crate::client) fn leave_quarantine(&self, space: SpaceId, id: ChangeId) -> Result<bool> {
        let key = params![space.as_bytes(), id.device.as_bytes(), id.n];
        Ok(self.run("DELETE FROM quarantine WHERE space_id = ?1 AND device_id = ?2 AND n = ?3", key)? > 0)
    }

    /// Forgets what an item carried; its place and its hash stay.
    pub(in crate::client) fn drop_payload(&self, space: SpaceId, id: ChangeId) -> Result<()> {
        let key = params![space.as_bytes(), id.device.as_bytes(), id.n];
        self.run("UPDATE items SET payload = NULL WHERE space_id = ?1 AND device_id = ?2 AND n = ?3", key)?;
        Ok(())
    }

    /// Takes an item out of its document; `false` if it was out of it.
    pub(in crate::client) fn take_out(&self, space: SpaceId, id: ChangeId) -> Result<bool> {
        let key = params![space.as_bytes(), id.device.as_bytes(), id.n];
        let sql = "UPDATE items SET out = 1 WHERE space_id = ?1 AND device_id = ?2 AND n = ?3 AND out = 0";
        Ok(self.run(sql, key)? > 0)
    }

    pub(in crate::client) fn is_out(&self, space: SpaceId, id: ChangeId) -> Result<bool> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT out FROM items WHERE space_id = ?1 AND device_id = ?2 AND n = ?3")?;
        let key = params![space.as_bytes(), id.device.as_bytes(), id.n];
        Ok(statement.query_row(key, |row| row.get(0)).optional()?.unwrap_or(false))
    }

    /// Whether the item that made a document is refused, as far as is known.
    pub(in crate::client) fn is_creation_refused(&self, space: SpaceId, doc: DocId) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(
            "SELECT COUNT(*), COALESCE(SUM(verdict IS NULL OR verdict = 0), 0) FROM items \
             WHERE space_id = ?1 AND doc_id = ?2 AND kind = ?3",
        )?;
        let key = params![space.as_bytes(), doc.as_bytes(), ItemKind::Create.number()];
        let (all, standing): (u64, u64) = statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(all > 0 && standing == 0)
    }

    /// One change says operations of another one again.
    pub(in crate::client) fn add_copy(
        &self,
        space: SpaceId,
        of: ChangeId,
        by: ChangeId,
        operations: &[u32],
        offers: u64,
    ) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO remade VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                space.as_bytes(),
                of.device.as_bytes(),
                of.n,
                by.device.as_bytes(),
                by.n,
                packed(operations),
                offers
            ],
        )?;
        Ok(())
    }

    /// How often what an item says was offered again by itself.
    pub(in crate::client) fn offers(&self, space: SpaceId, id: ChangeId) -> Result<u64> {
        let mut statement = self.connection.prepare_cached(
            "SELECT COALESCE(MAX(offers), 0) FROM remade WHERE space_id = ?1 AND by_device = ?2 AND by_n = ?3",
        )?;
        Ok(statement.query_row(params![space.as_bytes(), id.device.as_bytes(), id.n], |row| row.get(0))?)
    }

    /// The last change that says something of another one again.
    pub(in crate::client) fn copy_of(&self, space: SpaceId, id: ChangeId) -> Result<Option<ChangeId>> {
        self.other_side(
            "SELECT r.by_device, r.by_n FROM remade r JOIN items i ON i.space_id = r.space_id AND i.device_id = r.by_device \
             AND i.n = r.by_n WHERE r.space_id = ?1 AND r.device_id = ?2 AND r.n = ?3 ORDER BY i.arrival DESC LIMIT 1",
            space,
            id,
        )
    }

    /// The change of which one says something again.
    pub(in crate::client) fn original_of(&self, space: SpaceId, id: ChangeId) -> Result<Option<ChangeId>> {
        self.other_side(
            "SELECT device_id, n FROM remade WHERE space_id = ?1 AND by_device = ?2 AND by_n = ?3 LIMIT 1",
            space,
            id,
        )
    }

    fn other_side(&self, sql: &str, space: SpaceId, at: ChangeId) -> Result<Option<ChangeId>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let key = params![space.as_bytes(), at.device.as_bytes(), at.n];
        let found: Option<(Vec<u8>, u64)> =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        found.map(|(device, n)| id(&device, n)).transpose()
    }

    /// All changes of a document of which the bytes are here, in an order in which each follows what it was made upon: those
    /// in its snapshot, and the others as they arrived; each as it stands. What others wrote is among them as far as it is shown.
    pub(in crate::client) fn all_changes(&self, space: SpaceId, doc: DocId) -> Result<Vec<StoredChange>> {
        let mut copies = self.copies(space, doc)?;
        let mut changes = self.in_snapshot(space, doc)?;
        let (_, shown) = self.bounds(space, doc)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT device_id, n, hash, payload, verdict, out, chain IS NOT NULL FROM items \
             WHERE space_id = ?1 AND doc_id = ?2 AND kind = ?3 AND payload IS NOT NULL \
             AND (arrival <= ?4 OR chain IS NOT NULL) ORDER BY arrival",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes(), ItemKind::Change.number(), shown])?;
        while let Some(row) = rows.next()? {
            let (device, declared): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(2)?);
            let id = id(&device, row.get(1)?)?;
            let (verdict, out, own): (Option<u8>, bool, bool) = (row.get(4)?, row.get(5)?, row.get(6)?);
            let state = match verdict {
                _ if out => State::Out,
                // It is made anew when the epoch is here, and stays in the document until then.
                Some(number) if own && number == RejectCode::EpochPassed.number() => State::Own,
                Some(number) if number > 0 => State::Refused(RejectCode::from_number(number).ok_or(ROW)?),
                None if own => State::Own,
                _ => State::Settled,
            };
            let hash = hash(&declared, "items")?;
            let copies = copies.remove(&id).unwrap_or_default();
            changes.push(StoredChange { id, change: Stored { hash, bytes: row.get(3)?, state, copies }, own });
        }
        let sealed = changes.iter_mut().map(|of| std::mem::take(&mut of.change.bytes)).collect();
        match self.settle(space, doc, Sealed { snapshot: None, changes: sealed })? {
            Standing::Settled(Settled { grafts, hashes, changes: standing, .. }) => {
                for (of, (hash, bytes)) in changes.iter_mut().zip(hashes.into_iter().zip(standing)) {
                    (of.change.hash, of.change.bytes) = (hash, bytes);
                    of.change.copies.iter_mut().for_each(|(made, _)| *made = grafts.now(*made));
                }
            }
            Standing::AsSealed(Sealed { changes: sealed, .. }) => {
                changes.iter_mut().zip(sealed).for_each(|(of, bytes)| of.change.bytes = bytes);
            }
        }
        Ok(changes)
    }

    /// Changes in a document's snapshot. Their places in their feeds are not known from it, and nobody asks for them: all are
    /// settled.
    fn in_snapshot(&self, space: SpaceId, doc: DocId) -> Result<Vec<StoredChange>> {
        let Some((_, of)) = self.snapshot(space, doc)? else { return Ok(Vec::new()) };
        let bytes = self.snapshot_bytes(space, doc, of)?;
        let damaged = StoreError::Row { table: "snapshots" };
        let changes = changes_beyond(&bytes, &[]).ok_or(damaged)?;
        let change = |(hash, bytes): (Hash, Vec<u8>)| {
            let device = guard::inspect(&bytes).map(|guarded| guarded.actor.device());
            let id = ChangeId { device: device.map_err(|_| StoreError::Row { table: "snapshots" })?, n: 0 };
            let change = Stored { hash, bytes, state: State::Settled, copies: Vec::new() };
            Ok(StoredChange { id, change, own: false })
        };
        changes.into_iter().map(change).collect()
    }

    fn copies(&self, space: SpaceId, doc: DocId) -> Result<BTreeMap<ChangeId, Copies>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT r.device_id, r.n, i.hash, r.operations FROM items i JOIN remade r ON r.space_id = i.space_id \
             AND r.by_device = i.device_id AND r.by_n = i.n WHERE i.space_id = ?1 AND i.doc_id = ?2 AND i.kind = ?3 \
             ORDER BY i.arrival",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes(), ItemKind::Change.number()])?;
        let mut copies = BTreeMap::<_, Vec<_>>::new();
        while let Some(row) = rows.next()? {
            let (device, declared, operations): (Vec<u8>, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(2)?, row.get(3)?);
            let made = (hash(&declared, "items")?, unpacked(&operations));
            copies.entry(id(&device, row.get(1)?)?).or_default().push(made);
        }
        Ok(copies)
    }
}

impl Writer<'_> {
    /// Devices that this store was before.
    pub(in crate::client) fn former(&self) -> Result<Vec<DeviceId>> {
        let mut statement = self.connection.prepare_cached("SELECT device_id FROM former ORDER BY device_id")?;
        let mut rows = statement.query([])?;
        let mut devices = Vec::new();
        while let Some(row) = rows.next()? {
            let device: Vec<u8> = row.get(0)?;
            devices.push(DeviceId::from_slice(&device).map_err(|_| ROW)?);
        }
        Ok(devices)
    }
}
