//! Spaces that the server does not let the user into, and what of them it has not got.

use rusqlite::params;
use sync_core::id::{DeviceId, DocId, SpaceId};

use super::{Result, StoreError, Writer};

impl Writer<'_> {
    pub(in crate::client) fn barred(&self) -> Result<Vec<SpaceId>> {
        let mut statement = self.connection.prepare_cached("SELECT space_id FROM barred")?;
        let mut rows = statement.query([])?;
        let mut spaces = Vec::new();
        while let Some(row) = rows.next()? {
            let id: Vec<u8> = row.get(0)?;
            spaces.push(SpaceId::from_slice(&id).map_err(|_| StoreError::Row { table: "barred" })?);
        }
        Ok(spaces)
    }

    pub(in crate::client) fn set_barred(&self, space: SpaceId, barred: bool) -> Result<()> {
        let key = params![space.as_bytes()];
        if barred {
            self.run("INSERT OR IGNORE INTO barred VALUES (?1)", key)?;
        } else {
            self.run("DELETE FROM barred WHERE space_id = ?1", key)?;
        }
        Ok(())
    }

    /// Own items behind a place in the feed: where each is, and of which document.
    pub(in crate::client) fn unsent(&self, space: SpaceId, device: DeviceId, after: u64) -> Result<Vec<(u64, DocId)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT n, doc_id FROM items WHERE space_id = ?1 AND device_id = ?2 AND n > ?3 ORDER BY n",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), device.as_bytes(), after])?;
        let mut unsent = Vec::new();
        while let Some(row) = rows.next()? {
            let doc: Vec<u8> = row.get(1)?;
            let doc = DocId::from_slice(&doc).map_err(|_| StoreError::Row { table: "items" })?;
            unsent.push((row.get(0)?, doc));
        }
        Ok(unsent)
    }
}
