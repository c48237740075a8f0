//! Rows as they are.

use async_trait::async_trait;
use sync_core::feed::FeedHead;
use sync_core::id::{Actor, DocId, SpaceId};
use sync_core::ledger::{DocumentFacts, Tail};
use sync_core::log::Cursor;
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::StoreError;
use super::super::inspect::{Derived, DocumentRow, Inspect, LogRow, RowFacts, hashes};
use super::PostgresStore;
use super::row::{self, uuid};
use super::session::Session;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const COMMIT: &str = "COMMIT";
const SPACES: &str =
    "SELECT space_id FROM spaces WHERE closed = 0 AND ($1 OR space_id > $2) ORDER BY space_id LIMIT $3";
const ROWS: &str = "
    SELECT l.seq, l.chain, l.device_id, l.n, l.kind, l.doc_id, l.hash, l.verdict,
           l.actor, l.actor_seq, l.start_op, l.max_op, l.deps,
           (SELECT p.bytes FROM payloads p WHERE p.space_id = $1 AND p.seq = l.seq),
           (EXISTS (SELECT 1 FROM snapshots s WHERE s.space_id = $1 AND s.doc_id = l.doc_id AND s.below_seq >= l.seq)
            OR EXISTS (SELECT 1 FROM documents d
                       WHERE d.space_id = $1 AND d.doc_id = l.doc_id
                             AND (d.deleted_seq IS NOT NULL OR l.seq < d.epoch_seq))),
           (extract(epoch FROM l.received_at) * 1000)::bigint
    FROM log l WHERE l.space_id = $1 AND l.seq > $2 ORDER BY l.seq LIMIT $3";
const SPACE: &str = "SELECT head_seq, head_chain, documents_total FROM spaces WHERE space_id = $1 AND closed = 0";
const FEEDS: &str = "SELECT device_id, n, chain FROM feeds WHERE space_id = $1";
const DOCUMENTS: &str =
    "SELECT doc_id, collection, deleted_seq, operations, actors, epoch FROM documents WHERE space_id = $1";
const DOCUMENTS_AFTER: &str = "
    SELECT doc_id, collection, deleted_seq, operations, actors, epoch FROM documents
    WHERE space_id = $1 AND doc_id > $2 ORDER BY doc_id LIMIT $3";
const GRAFTS: &str = "SELECT doc_id, bytes FROM grafts WHERE space_id = $1";
const ACTORS: &str = "SELECT doc_id, actor, seq, hash FROM actors WHERE space_id = $1";

#[async_trait]
impl Inspect for PostgresStore {
    async fn spaces_after(&self, after: Option<SpaceId>, spaces_max: usize) -> Result<Vec<SpaceId>, StoreError> {
        let (all, limit) = (after.is_none(), spaces_max as i64);
        let after = after.map_or(Uuid::nil(), |space| uuid(space.as_bytes()));
        let spaces = async |client: &Session| {
            let wanted = [(&all as _, Type::BOOL), (&after as _, Type::UUID), (&limit as _, Type::INT8)];
            let found = client.query_typed(SPACES, &wanted).await?;
            found.iter().map(|found| row::space(found, 0)).collect()
        };
        self.primary.with(spaces).await
    }

    async fn log_rows(&self, space: SpaceId, after: u64, rows_max: usize) -> Result<Vec<LogRow>, StoreError> {
        let (id, after, limit) = (uuid(space.as_bytes()), after as i64, rows_max as i64);
        let rows = async |client: &Session| {
            let wanted = [(&id as _, Type::UUID), (&after as _, Type::INT8), (&limit as _, Type::INT8)];
            let found = client.query_typed(ROWS, &wanted).await?;
            found.iter().map(log_row).collect()
        };
        self.primary.with(rows).await
    }

    async fn document_rows(
        &self,
        space: SpaceId,
        after: Option<DocId>,
        rows_max: usize,
    ) -> Result<Vec<DocumentRow>, StoreError> {
        // No document is all zeros.
        let (id, limit) = (uuid(space.as_bytes()), rows_max as i64);
        let after = after.map_or(Uuid::nil(), |doc| uuid(doc.as_bytes()));
        let rows = async |client: &Session| {
            let wanted = [(&id as _, Type::UUID), (&after as _, Type::UUID), (&limit as _, Type::INT8)];
            client.query_typed(DOCUMENTS_AFTER, &wanted).await?.iter().map(document).collect()
        };
        self.primary.with(rows).await
    }

    async fn derived(&self, space: SpaceId) -> Result<Derived, StoreError> {
        self.primary.with(async |client| derived(client, space).await).await
    }
}

fn log_row(found: &Row) -> Result<LogRow, StoreError> {
    let at = Cursor { seq: row::number(found, 0)?, chain: row::hash(found, 1)? };
    let (payload, folded, received_ms) = (row::get(found, 13)?, row::get(found, 14)?, row::number(found, 15)?);
    Ok(LogRow { header: row::header(found, 2)?, at, facts: facts(found, 8)?, payload, folded, received_ms })
}

fn facts(found: &Row, at: usize) -> Result<Option<RowFacts>, StoreError> {
    let Some(actor) = row::get::<Option<&[u8]>>(found, at)? else { return Ok(None) };
    let actor = Actor::from_slice(actor).map_err(|error| StoreError::Fault(error.into()))?;
    let (seq, start_op, max_op) =
        (row::number(found, at + 1)?, row::number(found, at + 2)?, row::number(found, at + 3)?);
    let deps = hashes(row::get::<&[u8]>(found, at + 4)?)?;
    Ok(Some(RowFacts { actor, seq, start_op, max_op, deps }))
}

fn document(found: &Row) -> Result<DocumentRow, StoreError> {
    let deleted: Option<i64> = row::get(found, 2)?;
    let (operations, actors) = (row::number(found, 3)?, row::number(found, 4)?);
    let (collection, epoch) = (row::get(found, 1)?, row::number(found, 5)?);
    let facts = DocumentFacts { collection, deleted: deleted.is_some(), operations, actors, epoch };
    Ok((row::doc(found, 0)?, facts, deleted.map(|seq| seq as u64)))
}

async fn derived(client: &Session, space: SpaceId) -> Result<Derived, StoreError> {
    let id = uuid(space.as_bytes());
    let of_space = [(&id as _, Type::UUID)];
    let ((), head, feeds, documents, actors, grafts, ()) = try_join!(
        biased;
        client.batch_execute(BEGIN),
        client.query_typed(SPACE, &of_space),
        client.query_typed(FEEDS, &of_space),
        client.query_typed(DOCUMENTS, &of_space),
        client.query_typed(ACTORS, &of_space),
        client.query_typed(GRAFTS, &of_space),
        client.batch_execute(COMMIT),
    )?;
    let found = head.first().ok_or(StoreError::UnknownSpace)?;
    let head = Cursor { seq: row::number(found, 0)?, chain: row::hash(found, 1)? };
    let documents_total = row::number(found, 2)?;
    let feed =
        |found: &Row| Ok((row::device(found, 0)?, FeedHead { n: row::number(found, 1)?, chain: row::hash(found, 2)? }));
    let actor = |found: &Row| {
        let actor = Actor::from_slice(row::get(found, 1)?).map_err(|error| StoreError::Fault(error.into()))?;
        Ok(((row::doc(found, 0)?, actor), Tail { seq: row::number(found, 2)?, hash: row::hash(found, 3)? }))
    };
    Ok(Derived {
        head,
        documents_total,
        feeds: feeds.iter().map(feed).collect::<Result<_, StoreError>>()?,
        documents: documents.iter().map(document).collect::<Result<_, StoreError>>()?,
        actors: actors.iter().map(actor).collect::<Result<_, StoreError>>()?,
        grafts: grafts
            .iter()
            .map(|found| Ok((row::doc(found, 0)?, row::get(found, 1)?)))
            .collect::<Result<_, StoreError>>()?,
    })
}
