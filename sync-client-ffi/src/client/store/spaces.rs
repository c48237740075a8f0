//! Whose store it is, its spaces, and how far each feed has come.

use rusqlite::OptionalExtension;
use rusqlite::params;
use sync_core::feed::FeedHead;
use sync_core::id::{DeviceId, Hash, SpaceId};
use sync_core::log::{Cursor, Receipt};
use sync_core::version::FeedHeads;

use super::{Result, StoreError, Writer};

/// A row of `spaces`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct SpaceRow {
    /// The last item that this device sealed.
    pub(in crate::client) own: FeedHead,
    /// What the server has acknowledged of it.
    pub(in crate::client) acked: FeedHead,
    /// The place in the server's log.
    pub(in crate::client) cursor: Cursor,
    /// The last place up to it that the server gave a receipt for.
    pub(in crate::client) proven: Option<(Cursor, Receipt)>,
}

impl SpaceRow {
    pub(in crate::client) fn new(space: SpaceId, device: DeviceId) -> Self {
        let start = FeedHead::start(space, device);
        Self { own: start, acked: start, cursor: Cursor::start(space), proven: None }
    }
}

pub(super) fn hash(bytes: &[u8], table: &'static str) -> Result<Hash> {
    Hash::from_slice(bytes).map_err(|_| StoreError::Row { table })
}

impl Writer<'_> {
    pub(in crate::client) fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    pub(in crate::client) fn set_meta(&self, key: &str, value: &[u8]) -> Result<()> {
        self.run("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2", params![key, value])?;
        Ok(())
    }

    pub(in crate::client) fn spaces(&self) -> Result<Vec<(SpaceId, SpaceRow)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT space_id, own_n, own_chain, acked_n, acked_chain, cursor_seq, cursor_chain, receipt, \
             receipt_seq, receipt_chain FROM spaces",
        )?;
        let mut rows = statement.query([])?;
        let mut spaces = Vec::new();
        while let Some(row) = rows.next()? {
            let id: Vec<u8> = row.get(0)?;
            let place = |n: usize| -> Result<(u64, Hash)> {
                let chain: Vec<u8> = row.get(n + 1)?;
                Ok((row.get(n)?, hash(&chain, "spaces")?))
            };
            let (own, acked, cursor) = (place(1)?, place(3)?, place(5)?);
            let receipt: (Option<Vec<u8>>, Option<u64>, Option<Vec<u8>>) = (row.get(7)?, row.get(8)?, row.get(9)?);
            let proven = match receipt {
                (Some(receipt), Some(seq), Some(chain)) => {
                    let place = Cursor { seq, chain: hash(&chain, "spaces")? };
                    Some((place, Receipt::from_hash(hash(&receipt, "spaces")?)))
                }
                _ => None,
            };
            let row = SpaceRow {
                own: FeedHead { n: own.0, chain: own.1 },
                acked: FeedHead { n: acked.0, chain: acked.1 },
                cursor: Cursor { seq: cursor.0, chain: cursor.1 },
                proven,
            };
            let space = SpaceId::from_slice(&id).map_err(|_| StoreError::Row { table: "spaces" })?;
            spaces.push((space, row));
        }
        Ok(spaces)
    }

    pub(in crate::client) fn set_space(&self, space: SpaceId, row: &SpaceRow) -> Result<()> {
        self.run(
            "INSERT INTO spaces (space_id, own_n, own_chain, acked_n, acked_chain, cursor_seq, cursor_chain, receipt, \
             receipt_seq, receipt_chain) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (space_id) DO \
             UPDATE SET own_n = ?2, own_chain = ?3, acked_n = ?4, acked_chain = ?5, cursor_seq = ?6, cursor_chain = ?7, \
             receipt = ?8, receipt_seq = ?9, receipt_chain = ?10",
            params![
                space.as_bytes(),
                row.own.n,
                row.own.chain.0,
                row.acked.n,
                row.acked.chain.0,
                row.cursor.seq,
                row.cursor.chain.0,
                row.proven.map(|(_, receipt)| receipt.as_hash().0),
                row.proven.map(|(place, _)| place.seq),
                row.proven.map(|(place, _)| place.chain.0),
            ],
        )?;
        Ok(())
    }

    pub(in crate::client) fn feeds(&self, space: SpaceId) -> Result<FeedHeads> {
        let mut statement =
            self.connection.prepare_cached("SELECT device_id, n, chain FROM feeds WHERE space_id = ?1")?;
        let mut rows = statement.query([space.as_bytes()])?;
        let mut heads = FeedHeads::default();
        while let Some(row) = rows.next()? {
            let (id, n, chain): (Vec<u8>, u64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let device = DeviceId::from_slice(&id).map_err(|_| StoreError::Row { table: "feeds" })?;
            heads.set(device, FeedHead { n, chain: hash(&chain, "feeds")? });
        }
        Ok(heads)
    }

    pub(in crate::client) fn set_feed(&self, space: SpaceId, device: DeviceId, head: FeedHead) -> Result<()> {
        self.run(
            "INSERT INTO feeds VALUES (?1, ?2, ?3, ?4) ON CONFLICT (space_id, device_id) DO UPDATE SET n = ?3, chain = ?4",
            params![space.as_bytes(), device.as_bytes(), head.n, head.chain.0],
        )?;
        Ok(())
    }
}
