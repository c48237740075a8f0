//! A feed that was written elsewhere too: what is unsent of it is kept under a label until it is made anew.

use rusqlite::params;
use sync_core::feed::ItemKind;
use sync_core::id::{DeviceId, DocId, SpaceId};

use super::{Result, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "items" };

/// An own item that was never sent under the device's name.
pub(in crate::client) struct Unsent {
    pub(in crate::client) n: u64,
    pub(in crate::client) kind: ItemKind,
    pub(in crate::client) doc: DocId,
    pub(in crate::client) payload: Option<Vec<u8>>,
}

impl Writer<'_> {
    /// The spaces whose feed begins anew, with the labels of what is unsent there.
    pub(in crate::client) fn healing(&self) -> Result<Vec<(SpaceId, DeviceId)>> {
        let mut statement = self.connection.prepare_cached("SELECT space_id, label FROM healing")?;
        let mut rows = statement.query([])?;
        let mut healing = Vec::new();
        while let Some(row) = rows.next()? {
            let (space, label): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let space = SpaceId::from_slice(&space).map_err(|_| ROW)?;
            healing.push((space, DeviceId::from_slice(&label).map_err(|_| ROW)?));
        }
        Ok(healing)
    }

    pub(in crate::client) fn begin_healing(&self, space: SpaceId, label: DeviceId) -> Result<()> {
        self.run("INSERT INTO healing VALUES (?1, ?2)", params![space.as_bytes(), label.as_bytes()])?;
        self.add_former(label)
    }

    pub(in crate::client) fn end_healing(&self, space: SpaceId) -> Result<()> {
        self.run("DELETE FROM healing WHERE space_id = ?1", [space.as_bytes()])?;
        Ok(())
    }

    /// A device that this store was.
    pub(in crate::client) fn add_former(&self, device: DeviceId) -> Result<()> {
        self.run("INSERT OR IGNORE INTO former VALUES (?1)", [device.as_bytes()])?;
        Ok(())
    }

    /// Puts what a device wrote behind a place in its feed under a label.
    pub(in crate::client) fn label(&self, space: SpaceId, device: DeviceId, after: u64, label: DeviceId) -> Result<()> {
        let key = params![space.as_bytes(), device.as_bytes(), after, label.as_bytes()];
        for sql in [
            "UPDATE items SET device_id = ?4 WHERE space_id = ?1 AND device_id = ?2 AND n > ?3",
            "UPDATE quarantine SET device_id = ?4 WHERE space_id = ?1 AND device_id = ?2 AND n > ?3",
            "UPDATE remade SET device_id = ?4 WHERE space_id = ?1 AND device_id = ?2 AND n > ?3",
            "UPDATE remade SET by_device = ?4 WHERE space_id = ?1 AND by_device = ?2 AND by_n > ?3",
        ] {
            self.run(sql, key)?;
        }
        Ok(())
    }

    /// What a space that is read from its beginning once more holds of a feed does not stand in the way of what comes.
    pub(in crate::client) fn forget_feed(&self, space: SpaceId, device: DeviceId, through: u64) -> Result<()> {
        let key = params![space.as_bytes(), device.as_bytes(), through];
        self.run("DELETE FROM items WHERE space_id = ?1 AND device_id = ?2 AND n <= ?3", key)?;
        Ok(())
    }

    /// Spaces that were removed have no feed any more that could be gone on with.
    pub(in crate::client) fn forget_removed(&self) -> Result<()> {
        let gone = "SELECT space_id FROM removed WHERE space_id NOT IN (SELECT space_id FROM spaces)";
        self.run(&format!("DELETE FROM items WHERE space_id IN ({gone})"), [])?;
        self.run("DELETE FROM removed", [])?;
        Ok(())
    }

    /// In every document this device writes under an actor that is drawn anew; in all spaces, or in one.
    pub(in crate::client) fn forget_actors(&self, space: Option<SpaceId>) -> Result<()> {
        let space = space.map(|space| space.as_bytes().to_vec());
        self.run("UPDATE documents SET actor = NULL WHERE ?1 IS NULL OR space_id = ?1", [space])?;
        Ok(())
    }

    /// What is under a label and in its document, in the order in which it was written.
    pub(in crate::client) fn labelled(&self, space: SpaceId, label: DeviceId) -> Result<Vec<Unsent>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT n, kind, doc_id, CASE kind WHEN ?3 THEN payload END FROM items \
             WHERE space_id = ?1 AND device_id = ?2 AND out = 0 ORDER BY n",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), label.as_bytes(), ItemKind::Create.number()])?;
        let mut unsent = Vec::new();
        while let Some(row) = rows.next()? {
            let doc: Vec<u8> = row.get(2)?;
            unsent.push(Unsent {
                n: row.get(0)?,
                kind: ItemKind::from_number(row.get(1)?).ok_or(ROW)?,
                doc: DocId::from_slice(&doc).map_err(|_| ROW)?,
                payload: row.get(3)?,
            });
        }
        Ok(unsent)
    }

    /// Whether an item of another feed than that did this to a document, and was not refused.
    pub(in crate::client) fn is_done_elsewhere(
        &self,
        space: SpaceId,
        doc: DocId,
        kind: ItemKind,
        label: DeviceId,
    ) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(
            "SELECT COUNT(*) FROM items WHERE space_id = ?1 AND doc_id = ?2 AND kind = ?3 AND device_id <> ?4 \
             AND verdict = 0",
        )?;
        let key = params![space.as_bytes(), doc.as_bytes(), kind.number(), label.as_bytes()];
        let count: u64 = statement.query_row(key, |row| row.get(0))?;
        Ok(count > 0)
    }
}
