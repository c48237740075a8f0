//! Items of feeds: what this device wrote, what others wrote, and what the server said about it.

use rusqlite::{OptionalExtension, params};
use sync_core::code::RejectCode;
use sync_core::feed::{Body, ChangeId, FeedHead, Item, ItemKind, Run};
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::log::Verdict;

use super::spaces::hash;
use super::{Result, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "items" };

/// An item that joins the store.
pub(in crate::client) struct NewItem<'a> {
    pub(in crate::client) id: ChangeId,
    pub(in crate::client) kind: ItemKind,
    pub(in crate::client) doc: DocId,
    pub(in crate::client) hash: Hash,
    pub(in crate::client) payload: Option<&'a [u8]>,
    /// The place in the log and the verdict, of an item that comes from the server.
    pub(in crate::client) decided: Option<(u64, Verdict)>,
    /// When the server took it, where it said so: seconds since 1970.
    pub(in crate::client) taken_s: Option<u64>,
    /// The number of the last edit in it, and the chain's value after it, of an own item.
    pub(in crate::client) own: Option<(u64, Hash)>,
}

/// What is known of an item, whoever's it is.
pub(in crate::client) struct KnownItem {
    pub(in crate::client) doc: DocId,
    pub(in crate::client) hash: Hash,
    /// What the server decided, as far as is known.
    pub(in crate::client) verdict: Option<Verdict>,
    /// Its place in the log, as far as is known.
    pub(in crate::client) seq: Option<u64>,
}

impl Writer<'_> {
    pub(in crate::client) fn add_item(&self, space: SpaceId, item: &NewItem<'_>) -> Result<()> {
        self.run(
            "INSERT INTO items (space_id, device_id, n, kind, doc_id, hash, payload, seq, verdict, last_edit, chain, \
                                taken_s) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT (space_id, device_id, n) DO UPDATE SET payload = ?7, seq = ?8, verdict = ?9, taken_s = ?12 \
             WHERE hash = ?6",
            params![
                space.as_bytes(),
                item.id.device.as_bytes(),
                item.id.n,
                item.kind.number(),
                item.doc.as_bytes(),
                item.hash.0,
                item.payload,
                item.decided.map(|(seq, _)| seq),
                item.decided.map(|(_, verdict)| verdict.number()),
                item.own.map(|(edit, _)| edit),
                item.own.map(|(_, chain)| chain.0),
                item.taken_s,
            ],
        )?;
        Ok(())
    }

    /// Notes what the server decided about an item, and where it stands in the log.
    pub(in crate::client) fn decide(&self, space: SpaceId, id: ChangeId, seq: u64, verdict: Verdict) -> Result<()> {
        self.run(
            "UPDATE items SET seq = ?4, verdict = ?5 WHERE space_id = ?1 AND device_id = ?2 AND n = ?3",
            params![space.as_bytes(), id.device.as_bytes(), id.n, seq, verdict.number()],
        )?;
        Ok(())
    }

    /// What is known of an item.
    pub(in crate::client) fn item(&self, space: SpaceId, id: ChangeId) -> Result<Option<KnownItem>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT doc_id, hash, verdict, seq FROM items WHERE space_id = ?1 AND device_id = ?2 AND n = ?3",
        )?;
        let key = params![space.as_bytes(), id.device.as_bytes(), id.n];
        let mut rows = statement.query(key)?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (doc, declared): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let verdict: Option<u8> = row.get(2)?;
        let verdict = verdict.map(|number| Verdict::from_number(number).ok_or(ROW)).transpose()?;
        let (doc, hash) = (DocId::from_slice(&doc).map_err(|_| ROW)?, hash(&declared, "items")?);
        let seq = row.get(3)?;
        Ok(Some(KnownItem { doc, hash, verdict, seq }))
    }

    /// What an item carries; `None` for one that carries nothing.
    pub(in crate::client) fn payload(&self, space: SpaceId, id: ChangeId) -> Result<Option<Vec<u8>>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT payload FROM items WHERE space_id = ?1 AND device_id = ?2 AND n = ?3")?;
        let key = params![space.as_bytes(), id.device.as_bytes(), id.n];
        Ok(statement.query_row(key, |row| row.get(0)).optional()?.flatten())
    }

    /// The chain's value after an own item; the start of the feed for 0.
    pub(in crate::client) fn own_chain(&self, space: SpaceId, device: DeviceId, n: u64) -> Result<Option<Hash>> {
        if n == 0 {
            return Ok(Some(FeedHead::start(space, device).chain));
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT chain FROM items WHERE space_id = ?1 AND device_id = ?2 AND n = ?3 AND chain IS NOT NULL",
        )?;
        let key = params![space.as_bytes(), device.as_bytes(), n];
        let chain: Option<Vec<u8>> = statement.query_row(key, |row| row.get(0)).optional()?;
        if let Some(bytes) = chain {
            return Ok(Some(hash(&bytes, "items")?));
        }
        let folded = self.folded_own(space, device)?;
        Ok(folded.and_then(|(place, _)| (place.n == n).then_some(place.chain)))
    }

    /// The front of the outbox: own items behind `base`, as many as fit; one always does.
    pub(in crate::client) fn outbox(
        &self,
        space: SpaceId,
        device: DeviceId,
        base: FeedHead,
        bytes_max: usize,
        items_max: usize,
    ) -> Result<Run> {
        let mut statement = self.connection.prepare_cached(
            "SELECT kind, doc_id, hash, payload, out FROM items WHERE space_id = ?1 AND device_id = ?2 AND n > ?3 \
             ORDER BY n",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), device.as_bytes(), base.n])?;
        let mut run = Run { device, base, items: Vec::new() };
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let (kind, doc, declared): (u8, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let payload: Option<Vec<u8>> = row.get(3)?;
            let kind = ItemKind::from_number(kind).ok_or(ROW)?;
            let doc = DocId::from_slice(&doc).map_err(|_| ROW)?;
            let body = match (kind, payload) {
                // It is said otherwise by now, or was made upon what was refused.
                (kind, _) if row.get(4)? && !sync_core::mutation!("refused-sent-again") => {
                    Body::Void { kind, code: RejectCode::DependencyRefused }
                }
                (ItemKind::Create, Some(name)) => {
                    Body::Create { collection: String::from_utf8(name).map_err(|_| ROW)? }
                }
                (ItemKind::Change, Some(bytes)) => Body::Change { bytes },
                (ItemKind::Epoch, Some(bytes)) => Body::Epoch { bytes },
                (ItemKind::Delete, _) => Body::Delete,
                // No store has such an item.
                (ItemKind::Exclude, _) => return Err(ROW),
                // Its payload was dropped, so it can never be sent again.
                (kind, None) => Body::Void { kind, code: RejectCode::Void },
            };
            let item = Item { doc, hash: hash(&declared, "items")?, body };
            bytes += item.payload_bytes();
            if !run.items.is_empty() && bytes > bytes_max {
                break;
            }
            run.items.push(item);
            if run.items.len() >= items_max {
                break;
            }
        }
        Ok(run)
    }

    /// Own items that were refused.
    pub(in crate::client) fn refused(&self, space: SpaceId) -> Result<Vec<(u64, DocId, RejectCode)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT n, doc_id, verdict FROM items WHERE space_id = ?1 AND chain IS NOT NULL AND verdict > 0 ORDER BY arrival",
        )?;
        let mut rows = statement.query(params![space.as_bytes()])?;
        let mut refused = Vec::new();
        while let Some(row) = rows.next()? {
            let doc: Vec<u8> = row.get(1)?;
            let code = RejectCode::from_number(row.get(2)?).ok_or(ROW)?;
            refused.push((row.get(0)?, DocId::from_slice(&doc).map_err(|_| ROW)?, code));
        }
        Ok(refused)
    }

    /// The first and the last edit that end in an own item; `None` if none does.
    pub(in crate::client) fn edits_of_item(
        &self,
        space: SpaceId,
        doc: DocId,
        id: ChangeId,
    ) -> Result<Option<(u64, u64)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT arrival, last_edit FROM items WHERE space_id = ?1 AND device_id = ?2 AND n = ?3")?;
        let key = params![space.as_bytes(), id.device.as_bytes(), id.n];
        let found: Option<(u64, Option<u64>)> =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((arrival, last)) = found else { return Ok(None) };
        // Under whatever device: edits are counted on from one to the next.
        let mut statement = self.connection.prepare_cached(
            "SELECT last_edit FROM items WHERE space_id = ?1 AND doc_id = ?2 AND arrival < ?3 AND last_edit > 0 \
             ORDER BY arrival DESC LIMIT 1",
        )?;
        let key = params![space.as_bytes(), doc.as_bytes(), arrival];
        let before: Option<u64> = statement.query_row(key, |row| row.get(0)).optional()?;
        let (folded, _) = self.folded_edits(space, doc)?;
        let folded = if last.is_some_and(|last| last > folded) { folded } else { 0 };
        let first = before.unwrap_or(0).max(folded) + 1;
        Ok(last.filter(|last| *last >= first).map(|last| (first, last)))
    }

    /// The item in which an edit of a document ended, and the last edit in that.
    pub(in crate::client) fn item_of_edit(
        &self,
        space: SpaceId,
        doc: DocId,
        edit: u64,
    ) -> Result<Option<(ChangeId, u64)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT device_id, n, last_edit FROM items WHERE space_id = ?1 AND doc_id = ?2 AND last_edit >= ?3 \
             ORDER BY arrival LIMIT 1",
        )?;
        let key = params![space.as_bytes(), doc.as_bytes(), edit];
        let row: Option<(Vec<u8>, u64, u64)> =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((device, n, last)) = row else { return Ok(None) };
        Ok(Some((ChangeId { device: DeviceId::from_slice(&device).map_err(|_| ROW)?, n }, last)))
    }

    /// What the server has decided about an item.
    pub(in crate::client) fn decided(&self, space: SpaceId, id: ChangeId) -> Result<Option<(u64, Verdict)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, verdict FROM items WHERE space_id = ?1 AND device_id = ?2 AND n = ?3")?;
        let key = params![space.as_bytes(), id.device.as_bytes(), id.n];
        let row: Option<(Option<u64>, Option<u8>)> =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(match row {
            Some((Some(seq), Some(number))) => Some((seq, Verdict::from_number(number).ok_or(ROW)?)),
            _ => None,
        })
    }
}
