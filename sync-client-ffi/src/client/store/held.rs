//! What a held document takes in piece by piece.

use rusqlite::params;
use sync_core::feed::ItemKind;
use sync_core::id::{DeviceId, DocId, SpaceId};

use super::{Result, Writer};

impl Writer<'_> {
    /// A device's changes of a document that were not refused, behind `after` and up to `through` in its feed, in the
    /// order of arrival; each with its arrival.
    pub(in crate::client) fn changes_of(
        &self,
        space: SpaceId,
        doc: DocId,
        device: DeviceId,
        after: u64,
        through: u64,
    ) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT arrival, payload FROM items WHERE space_id = ?1 AND device_id = ?2 AND n > ?3 AND n <= ?4 \
             AND doc_id = ?5 AND kind = ?6 AND payload IS NOT NULL AND out = 0 AND (verdict IS NULL OR verdict = 0) ORDER BY n",
        )?;
        let rows = statement.query_map(
            params![space.as_bytes(), device.as_bytes(), after, through, doc.as_bytes(), ItemKind::Change.number()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }
}
