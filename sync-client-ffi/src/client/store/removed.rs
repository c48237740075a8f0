//! Spaces that this device takes no part in any more, and what is kept of them: its own feed without what it said, since a
//! feed never begins anew.

use rusqlite::{OptionalExtension, params};
use sync_core::feed::{ChangeId, FeedHead, ItemKind};
use sync_core::id::{DeviceId, Hash, SpaceId};

use super::spaces::hash;
use super::{Result, SpaceRow, StoreError, Writer};

impl Writer<'_> {
    /// Takes a space's rows away.
    pub(in crate::client) fn remove_space(&self, space: SpaceId, device: DeviceId, row: &SpaceRow) -> Result<()> {
        let key = params![space.as_bytes()];
        let own = params![space.as_bytes(), device.as_bytes()];
        self.run("DELETE FROM items WHERE space_id = ?1 AND device_id <> ?2", own)?;
        // Later edits of a document count from 1 again.
        self.run("UPDATE items SET payload = NULL, last_edit = 0 WHERE space_id = ?1 AND device_id = ?2", own)?;
        for table in [
            "documents",
            "journals",
            "journal_edits",
            "feeds",
            "barred",
            "healing",
            "quarantine",
            "remade",
            "exclusions",
            "times",
            "spaces",
        ] {
            self.run(&format!("DELETE FROM {table} WHERE space_id = ?1"), key)?;
        }
        self.remove_snapshots(space)?;
        self.run(
            "INSERT INTO removed VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (space_id) DO UPDATE SET own_n = ?2, \
             own_chain = ?3, acked_n = ?4, acked_chain = ?5",
            params![space.as_bytes(), row.own.n, row.own.chain.0, row.acked.n, row.acked.chain.0],
        )?;
        Ok(())
    }

    /// How far the own feed had come in a space that was removed, and what of it was acknowledged.
    pub(in crate::client) fn removed(&self, space: SpaceId) -> Result<Option<(FeedHead, FeedHead)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT own_n, own_chain, acked_n, acked_chain FROM removed WHERE space_id = ?1")?;
        let found: Option<(u64, Vec<u8>, u64, Vec<u8>)> = statement
            .query_row([space.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((own_n, own_chain, acked_n, acked_chain)) = found else { return Ok(None) };
        let head = |n, chain: &[u8]| Ok::<_, StoreError>(FeedHead { n, chain: hash(chain, "removed")? });
        Ok(Some((head(own_n, &own_chain)?, head(acked_n, &acked_chain)?)))
    }

    /// A space that was removed is here again as a whole.
    pub(in crate::client) fn regained(&self, space: SpaceId) -> Result<()> {
        self.run("DELETE FROM removed WHERE space_id = ?1", [space.as_bytes()])?;
        Ok(())
    }

    /// Puts back what an own item carried, behind what it was made upon; `false` if it was there.
    pub(in crate::client) fn restore(
        &self,
        space: SpaceId,
        id: ChangeId,
        declared: Hash,
        payload: &[u8],
    ) -> Result<bool> {
        let restored = self.run(
            "UPDATE items SET payload = ?5, arrival = (SELECT MAX(arrival) + 1 FROM items) \
             WHERE space_id = ?1 AND device_id = ?2 AND n = ?3 AND hash = ?4 AND payload IS NULL",
            params![space.as_bytes(), id.device.as_bytes(), id.n, declared.0, payload],
        )?;
        Ok(restored > 0)
    }

    /// What an item does.
    pub(in crate::client) fn kind(&self, space: SpaceId, id: ChangeId) -> Result<Option<ItemKind>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT kind FROM items WHERE space_id = ?1 AND device_id = ?2 AND n = ?3")?;
        let key = params![space.as_bytes(), id.device.as_bytes(), id.n];
        let kind: Option<u8> = statement.query_row(key, |row| row.get(0)).optional()?;
        Ok(kind.and_then(ItemKind::from_number))
    }
}
