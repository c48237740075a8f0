//! Journals: edits that are not sealed yet, and the state of the document that they build on.

use rusqlite::{OptionalExtension, params};
use sync_core::id::{Actor, DocId, Hash, SpaceId};

use super::spaces::hash;
use super::{Result, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "journals" };

/// A journal as it stands on disk.
#[derive(Debug)]
pub(in crate::client) struct StoredJournal {
    /// The heads that its first edit was made upon, ascending.
    pub(in crate::client) heads: Vec<Hash>,
    /// Under which actor.
    pub(in crate::client) actor: Actor,
    /// By what the change that it becomes is known; nothing where an earlier version of this library began it.
    pub(in crate::client) mark: Option<u32>,
    /// The encoded operations of each edit, in order.
    pub(in crate::client) edits: Vec<Vec<u8>>,
}

impl Writer<'_> {
    pub(in crate::client) fn open_journal(
        &self,
        space: SpaceId,
        doc: DocId,
        opened: u64,
        heads: &[Hash],
        actor: &Actor,
        mark: Option<u32>,
    ) -> Result<()> {
        let heads: Vec<u8> = heads.iter().flat_map(|hash| hash.0).collect();
        self.run(
            "INSERT INTO journals VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![space.as_bytes(), doc.as_bytes(), opened, heads, actor.as_bytes(), mark],
        )?;
        Ok(())
    }

    pub(in crate::client) fn add_edit(&self, space: SpaceId, doc: DocId, edit: u64, ops: &[u8]) -> Result<()> {
        self.run(
            "INSERT INTO journal_edits (space_id, doc_id, edit, ops) VALUES (?1, ?2, ?3, ?4)",
            params![space.as_bytes(), doc.as_bytes(), edit, ops],
        )?;
        Ok(())
    }

    pub(in crate::client) fn close_journal(&self, space: SpaceId, doc: DocId) -> Result<()> {
        let key = params![space.as_bytes(), doc.as_bytes()];
        self.run("DELETE FROM journals WHERE space_id = ?1 AND doc_id = ?2", key)?;
        self.run("DELETE FROM journal_edits WHERE space_id = ?1 AND doc_id = ?2", key)?;
        Ok(())
    }

    /// The documents of a space with open journals, in the order in which those were opened.
    pub(in crate::client) fn open_journals(&self, space: SpaceId) -> Result<Vec<(DocId, u64)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT doc_id, opened FROM journals WHERE space_id = ?1 ORDER BY opened")?;
        let mut rows = statement.query([space.as_bytes()])?;
        let mut open = Vec::new();
        while let Some(row) = rows.next()? {
            let doc: Vec<u8> = row.get(0)?;
            open.push((DocId::from_slice(&doc).map_err(|_| ROW)?, row.get(1)?));
        }
        Ok(open)
    }

    pub(in crate::client) fn journal(&self, space: SpaceId, doc: DocId) -> Result<Option<StoredJournal>> {
        let key = params![space.as_bytes(), doc.as_bytes()];
        let mut statement = self
            .connection
            .prepare_cached("SELECT heads, actor, mark FROM journals WHERE space_id = ?1 AND doc_id = ?2")?;
        let row: Option<(Vec<u8>, Vec<u8>, Option<u32>)> =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((heads, actor, mark)) = row else { return Ok(None) };
        let heads = heads.chunks(32).map(|bytes| hash(bytes, "journals")).collect::<Result<_>>()?;
        let actor = Actor::from_slice(&actor).map_err(|_| ROW)?;
        let mut statement = self
            .connection
            .prepare_cached("SELECT ops FROM journal_edits WHERE space_id = ?1 AND doc_id = ?2 ORDER BY id")?;
        let edits = statement.query_map(key, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(Some(StoredJournal { heads, actor, mark, edits }))
    }
}
