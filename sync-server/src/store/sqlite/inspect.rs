//! Rows as they are.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use sync_core::feed::FeedHead;
use sync_core::id::{Actor, DocId, SpaceId};
use sync_core::ledger::{DocumentFacts, Tail};
use sync_core::log::Cursor;

use super::super::StoreError;
use super::super::inspect::{Derived, DocumentRow, Inspect, LogRow, RowFacts, hashes};
use super::{SqliteStore, row};

#[async_trait]
impl Inspect for SqliteStore {
    async fn spaces_after(&self, after: Option<SpaceId>, spaces_max: usize) -> Result<Vec<SpaceId>, StoreError> {
        self.read(move |connection| spaces_after(connection, after, spaces_max)).await
    }

    async fn log_rows(&self, space: SpaceId, after: u64, rows_max: usize) -> Result<Vec<LogRow>, StoreError> {
        self.read(move |connection| log_rows(connection, space, after, rows_max)).await
    }

    async fn document_rows(
        &self,
        space: SpaceId,
        after: Option<DocId>,
        rows_max: usize,
    ) -> Result<Vec<DocumentRow>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT doc_id, collection, deleted_seq, operations, actors, epoch FROM documents
                       WHERE space_id = ?1 AND doc_id > ?2 ORDER BY doc_id LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            let after = after.map_or(Vec::new(), |doc| doc.as_bytes().to_vec());
            let mut rows = statement.query(params![space.as_bytes(), after, rows_max as i64])?;
            let mut documents = Vec::new();
            while let Some(found) = rows.next()? {
                documents.push(document(found)?);
            }
            Ok(documents)
        })
        .await
    }

    async fn derived(&self, space: SpaceId) -> Result<Derived, StoreError> {
        self.read(move |connection| derived(connection, space)).await
    }
}

fn spaces_after(
    connection: &Connection,
    after: Option<SpaceId>,
    spaces_max: usize,
) -> Result<Vec<SpaceId>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT space_id FROM spaces WHERE space_id > ?1 AND closed = 0 ORDER BY space_id LIMIT ?2")?;
    let after = after.map_or(Vec::new(), |space| space.as_bytes().to_vec());
    let mut rows = statement.query(params![after, spaces_max as i64])?;
    let mut spaces = Vec::new();
    while let Some(found) = rows.next()? {
        spaces.push(row::space(found, 0)?);
    }
    Ok(spaces)
}

fn log_rows(
    connection: &mut Connection,
    space: SpaceId,
    after: u64,
    rows_max: usize,
) -> Result<Vec<LogRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT l.seq, l.chain, l.device_id, l.n, l.kind, l.doc_id, l.hash, l.verdict,
                l.actor, l.actor_seq, l.start_op, l.max_op, l.deps,
                (SELECT p.bytes FROM payloads p WHERE p.space_id = l.space_id AND p.seq = l.seq),
                (EXISTS (SELECT 1 FROM snapshots s WHERE s.space_id = l.space_id AND s.doc_id = l.doc_id AND s.below_seq >= l.seq)
                 OR EXISTS (SELECT 1 FROM documents d
                            WHERE d.space_id = l.space_id AND d.doc_id = l.doc_id
                                  AND (d.deleted_seq IS NOT NULL OR l.seq < d.epoch_seq))),
                l.received_ms
         FROM log l WHERE l.space_id = ?1 AND l.seq > ?2 ORDER BY l.seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![space.as_bytes(), after as i64, rows_max as i64])?;
    let mut found = Vec::new();
    while let Some(one) = rows.next()? {
        let at = Cursor { seq: row::number(one, 0)?, chain: row::hash(one, 1)? };
        let (payload, folded, received_ms) = (one.get(13)?, one.get(14)?, row::number(one, 15)?);
        found.push(LogRow { header: row::header(one, 2)?, at, facts: facts(one, 8)?, payload, folded, received_ms });
    }
    Ok(found)
}

fn facts(found: &Row<'_>, at: usize) -> Result<Option<RowFacts>, StoreError> {
    let Some(actor) = found.get::<_, Option<Vec<u8>>>(at)? else { return Ok(None) };
    let actor = Actor::from_slice(&actor).map_err(|error| StoreError::Fault(error.into()))?;
    let (seq, start_op, max_op) =
        (row::number(found, at + 1)?, row::number(found, at + 2)?, row::number(found, at + 3)?);
    let deps = hashes(&found.get::<_, Vec<u8>>(at + 4)?)?;
    Ok(Some(RowFacts { actor, seq, start_op, max_op, deps }))
}

fn document(found: &Row<'_>) -> Result<DocumentRow, StoreError> {
    let deleted: Option<i64> = found.get(2)?;
    let (operations, actors) = (row::number(found, 3)?, row::number(found, 4)?);
    let (collection, epoch) = (found.get(1)?, row::number(found, 5)?);
    let facts = DocumentFacts { collection, deleted: deleted.is_some(), operations, actors, epoch };
    Ok((row::doc(found, 0)?, facts, deleted.map(|seq| seq as u64)))
}

fn derived(connection: &mut Connection, space: SpaceId) -> Result<Derived, StoreError> {
    let moment = connection.transaction()?;
    let id = space.as_bytes();
    let mut statement = moment.prepare_cached(
        "SELECT head_seq, head_chain, documents_total FROM spaces WHERE space_id = ?1 AND closed = 0",
    )?;
    let mut rows = statement.query([id])?;
    let found = rows.next()?.ok_or(StoreError::UnknownSpace)?;
    let head = Cursor { seq: row::number(found, 0)?, chain: row::hash(found, 1)? };
    let documents_total = row::number(found, 2)?;
    let (mut feeds, mut documents, mut actors) = (Vec::new(), Vec::new(), Vec::new());
    let mut statement = moment.prepare_cached("SELECT device_id, n, chain FROM feeds WHERE space_id = ?1")?;
    let mut rows = statement.query([id])?;
    while let Some(found) = rows.next()? {
        feeds.push((row::device(found, 0)?, FeedHead { n: row::number(found, 1)?, chain: row::hash(found, 2)? }));
    }
    let mut statement = moment.prepare_cached(
        "SELECT doc_id, collection, deleted_seq, operations, actors, epoch FROM documents WHERE space_id = ?1",
    )?;
    let mut rows = statement.query([id])?;
    while let Some(found) = rows.next()? {
        documents.push(document(found)?);
    }
    let mut statement = moment.prepare_cached("SELECT doc_id, actor, seq, hash FROM actors WHERE space_id = ?1")?;
    let mut rows = statement.query([id])?;
    while let Some(found) = rows.next()? {
        let actor = Actor::from_slice(&found.get::<_, Vec<u8>>(1)?).map_err(|error| StoreError::Fault(error.into()))?;
        let tail = Tail { seq: row::number(found, 2)?, hash: row::hash(found, 3)? };
        actors.push(((row::doc(found, 0)?, actor), tail));
    }
    let mut statement = moment.prepare_cached("SELECT doc_id, bytes FROM grafts WHERE space_id = ?1")?;
    let mut rows = statement.query([id])?;
    let mut grafts = Vec::new();
    while let Some(found) = rows.next()? {
        grafts.push((row::doc(found, 0)?, found.get(1)?));
    }
    Ok(Derived { head, documents_total, feeds, documents, actors, grafts })
}
