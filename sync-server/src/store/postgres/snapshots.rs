//! What compaction keeps.

use async_trait::async_trait;
use sync_core::feed::ChangeId;
use sync_core::id::{ACTORS_OF_STRUCTURES, DocId, Hash, SpaceId};
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::StoreError;
use super::super::snapshots::{
    Amount, DocumentState, HORIZON_STEP, NewSnapshot, Range, Reader, Snapshots, StoredChange, StoredSnapshot,
};
use super::PostgresStore;
use super::row::{self, uuid};
use super::session::{Parameter, Session};
use statements::{
    ADOPT, ANNOUNCE, CHANGES_AT, CHANGES_OF_FEW, CHANGES_OF_MANY, CLEAR_PARTS, COUNT_TAIL, COVERED, DOCUMENT,
    DOCUMENTS, DROP, DROPPED, EPOCH_CLEARED, FOLDED, FORGET, FORGET_GRAFTS, GRAFTS, HORIZON, LEASE, LOCK_DOCUMENT,
    MOVE_HORIZON, PART, PURGED, PUT_PART, READERS, SHORTEN_TAIL, STANDS, UNFOLDED,
};

mod statements;

const COMMIT: &str = "COMMIT";

fn state(found: &Row) -> Result<DocumentState, StoreError> {
    let optional = |at: usize| -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = row::get(found, at)?;
        value.map(|value| u64::try_from(value).map_err(|_| row::corrupt("number"))).transpose()
    };
    let tail = match (optional(4)?, optional(5)?) {
        (Some(changes), Some(bytes)) => Some(Amount { changes, bytes }),
        _ => None,
    };
    let snapshot = match optional(6)? {
        Some(seq) => Some(StoredSnapshot {
            seq,
            hash: row::hash(found, 7)?,
            size: row::number(found, 8)?,
            heads: row::hashes(found, 9)?,
            changes: row::number(found, 10)?,
            payload_bytes: row::number(found, 11)?,
            below_seq: row::number(found, 12)?,
            dropped_seq: row::number(found, 13)?,
        }),
        None => None,
    };
    Ok(DocumentState {
        space: row::space(found, 0)?,
        doc: row::doc(found, 1)?,
        deleted: row::get(found, 2)?,
        purged: row::get(found, 3)?,
        tail,
        snapshot,
        horizon_seq: optional(14)?.unwrap_or(0),
        head_seq: optional(15)?.unwrap_or(0),
        unfolded: optional(16)?.zip(optional(17)?),
        epoch_seq: row::number(found, 18)?,
        epoch_cleared: row::get(found, 19)?,
        grafted: row::get(found, 20)?,
    })
}

async fn adopt(client: &Session, begin: &str, space: SpaceId, new: &NewSnapshot) -> Result<bool, StoreError> {
    let (id, doc) = (uuid(space.as_bytes()), uuid(new.doc.as_bytes()));
    let of_document: [Parameter<'_>; 2] = [(&id, Type::UUID), (&doc, Type::UUID)];
    let from = new.from.map(|hash| hash.0.to_vec());
    let (seq, newest) = (new.snapshot.seq as i64, new.newest.0.as_slice());
    let stands: [Parameter<'_>; 5] =
        [(&id, Type::UUID), (&doc, Type::UUID), (&from, Type::BYTEA), (&seq, Type::INT8), (&newest, Type::BYTEA)];
    let ((), locked, stands) = try_join!(
        biased;
        client.batch_execute(begin),
        client.query_typed(LOCK_DOCUMENT, &of_document),
        client.query_typed(STANDS, &stands),
    )?;
    let deleted = locked.first().map_or(Ok(true), |found| row::get(found, 0))?;
    let stands: bool = stands.first().map_or(Ok(false), |found| row::get(found, 0))?;
    if deleted || !stands {
        client.batch_execute(COMMIT).await?;
        return Ok(false);
    }
    let of = &new.snapshot;
    let (hash, size) = (of.hash.0.as_slice(), of.size as i64);
    let heads: Vec<u8> = of.heads.iter().flat_map(|head| head.0).collect();
    let (changes, payload_bytes) = (of.changes as i64, of.payload_bytes as i64);
    let row: [Parameter<'_>; 8] = [
        (&id, Type::UUID),
        (&doc, Type::UUID),
        (&seq, Type::INT8),
        (&hash, Type::BYTEA),
        (&size, Type::INT8),
        (&heads, Type::BYTEA),
        (&changes, Type::INT8),
        (&payload_bytes, Type::INT8),
    ];
    let (folded, bytes) = (new.folded.changes as i64, new.folded.bytes as i64);
    let tail: [Parameter<'_>; 4] = [(&id, Type::UUID), (&doc, Type::UUID), (&folded, Type::INT8), (&bytes, Type::INT8)];
    try_join!(
        biased;
        client.execute_typed(ADOPT, &row),
        client.execute_typed(SHORTEN_TAIL, &tail),
        client.execute_typed(FOLDED, &of_document),
        client.batch_execute(COMMIT),
    )?;
    Ok(true)
}

async fn drop_payloads(
    client: &Session,
    begin: &str,
    space: SpaceId,
    doc: DocId,
    below: u64,
    seqs: &[u64],
) -> Result<(), StoreError> {
    let (id, doc, below) = (uuid(space.as_bytes()), uuid(doc.as_bytes()), below as i64);
    let seqs: Vec<i64> = seqs.iter().map(|seq| *seq as i64).collect();
    let of_snapshot: [Parameter<'_>; 3] = [(&id, Type::UUID), (&doc, Type::UUID), (&below, Type::INT8)];
    let ((), covered) = try_join!(biased; client.batch_execute(begin), client.query_typed(COVERED, &of_snapshot))?;
    if !covered.first().map_or(Ok(false), |found| row::get(found, 0))? {
        return Err(StoreError::Fault("payloads that no snapshot covers were to be dropped".into()));
    }
    let of_payloads: [Parameter<'_>; 3] = [(&id, Type::UUID), (&seqs, Type::INT8_ARRAY), (&below, Type::INT8)];
    try_join!(
        biased;
        client.execute_typed(ANNOUNCE, &of_snapshot),
        client.execute_typed(DROP, &of_payloads),
        client.batch_execute(COMMIT),
    )?;
    Ok(())
}

async fn move_horizon(
    client: &Session,
    space: SpaceId,
    active_since_ms: u64,
    older_than_ms: u64,
) -> Result<u64, StoreError> {
    let (id, active, older) = (uuid(space.as_bytes()), active_since_ms as i64, older_than_ms as i64);
    let step = HORIZON_STEP as i64;
    let wanted: [Parameter<'_>; 4] =
        [(&id, Type::UUID), (&active, Type::INT8), (&older, Type::INT8), (&step, Type::INT8)];
    let found = client.query_typed(HORIZON, &wanted).await?;
    let found = found.first().ok_or(StoreError::UnknownSpace)?;
    let (horizon, head): (i64, i64) = (row::get(found, 0)?, row::get(found, 1)?);
    let read_by_all: Option<i64> = row::get(found, 2)?;
    let young: Option<i64> = row::get(found, 3)?;
    let old = young.map_or(head.min(horizon + step), |seq| seq - 1);
    let moved = horizon.max(old).max(read_by_all.unwrap_or(0)).min(head);
    if moved > horizon {
        client.execute_typed(MOVE_HORIZON, &[(&id, Type::UUID), (&moved, Type::INT8)]).await?;
    }
    u64::try_from(moved).map_err(|_| row::corrupt("number"))
}

impl PostgresStore {
    async fn of_document(&self, text: &'static str, space: SpaceId, doc: DocId) -> Result<(), StoreError> {
        let (id, doc) = (uuid(space.as_bytes()), uuid(doc.as_bytes()));
        let key: [Parameter<'_>; 2] = [(&id, Type::UUID), (&doc, Type::UUID)];
        self.primary
            .with(async |client| {
                client.execute_typed(text, &key).await?;
                Ok(())
            })
            .await
    }
}

#[async_trait]
impl Snapshots for PostgresStore {
    async fn documents_after(
        &self,
        after: Option<(SpaceId, DocId)>,
        max: u32,
    ) -> Result<Vec<DocumentState>, StoreError> {
        // No space and no document is all zeros.
        let (space, doc) =
            after.map_or((Uuid::nil(), Uuid::nil()), |(space, doc)| (uuid(space.as_bytes()), uuid(doc.as_bytes())));
        let max = i64::from(max);
        let wanted: [Parameter<'_>; 3] = [(&space, Type::UUID), (&doc, Type::UUID), (&max, Type::INT8)];
        self.primary
            .with(async |client| client.query_typed(DOCUMENTS, &wanted).await?.iter().map(state).collect())
            .await
    }

    async fn document_state(&self, space: SpaceId, doc: DocId) -> Result<Option<DocumentState>, StoreError> {
        let (space, doc) = (uuid(space.as_bytes()), uuid(doc.as_bytes()));
        let key: [Parameter<'_>; 2] = [(&space, Type::UUID), (&doc, Type::UUID)];
        self.primary.with(async |client| client.query_typed(DOCUMENT, &key).await?.first().map(state).transpose()).await
    }

    async fn changes_in(
        &self,
        space: SpaceId,
        doc: DocId,
        range: Range,
        max: usize,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let (id, doc) = (uuid(space.as_bytes()), uuid(doc.as_bytes()).to_string());
        let (after, max) = (range.after as i64, i64::try_from(max).unwrap_or(i64::MAX));
        let through = i64::try_from(range.through).unwrap_or(i64::MAX);
        let text = if range.few { CHANGES_OF_FEW } else { CHANGES_OF_MANY };
        let wanted: [Parameter<'_>; 5] =
            [(&id, Type::UUID), (&doc, Type::TEXT), (&after, Type::INT8), (&through, Type::INT8), (&max, Type::INT8)];
        let change = |found: &Row| Ok((row::number(found, 0)?, row::number(found, 1)?));
        self.primary.with(async |client| client.query_typed(text, &wanted).await?.iter().map(change).collect()).await
    }

    async fn changes_at(&self, space: SpaceId, seqs: &[u64]) -> Result<Vec<StoredChange>, StoreError> {
        let id = uuid(space.as_bytes());
        let wanted: Vec<i64> = seqs.iter().map(|seq| *seq as i64).collect();
        let change = |found: &Row| {
            let (seq, hash, deps) = (row::number(found, 0)?, row::hash(found, 1)?, row::hashes(found, 2)?);
            let id = ChangeId { device: row::device(found, 5)?, n: row::number(found, 6)? };
            Ok(StoredChange { seq, id, hash, deps, repeats: row::get(found, 4)?, bytes: row::get(found, 3)? })
        };
        let read = self.primary.with(async |client| {
            let structures = ACTORS_OF_STRUCTURES.as_slice();
            let values: [Parameter<'_>; 3] =
                [(&id, Type::UUID), (&wanted, Type::INT8_ARRAY), (&structures, Type::BYTEA)];
            let found = client.query_typed(CHANGES_AT, &values).await?;
            found.iter().map(change).collect::<Result<Vec<_>, StoreError>>()
        });
        let read = read.await?;
        if read.len() == seqs.len() { Ok(read) } else { Err(row::corrupt("log without holes")) }
    }

    async fn count_tail(&self, space: SpaceId, doc: DocId, tail: Amount) -> Result<(), StoreError> {
        let (id, doc) = (uuid(space.as_bytes()), uuid(doc.as_bytes()));
        let (changes, bytes) = (tail.changes as i64, tail.bytes as i64);
        let values: [Parameter<'_>; 4] =
            [(&id, Type::UUID), (&doc, Type::UUID), (&changes, Type::INT8), (&bytes, Type::INT8)];
        self.primary
            .with(async |client| {
                client.execute_typed(COUNT_TAIL, &values).await?;
                Ok(())
            })
            .await
    }

    async fn snapshot_part(
        &self,
        space: SpaceId,
        doc: DocId,
        hash: Hash,
        part: u32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (id, doc, hash, part) = (uuid(space.as_bytes()), uuid(doc.as_bytes()), hash.0.as_slice(), part as i32);
        let key: [Parameter<'_>; 4] =
            [(&id, Type::UUID), (&doc, Type::UUID), (&hash, Type::BYTEA), (&part, Type::INT4)];
        self.primary
            .with(async |client| {
                client.query_typed(PART, &key).await?.first().map(|found| row::get(found, 0)).transpose()
            })
            .await
    }

    async fn grafts(&self, space: SpaceId, doc: DocId) -> Result<Option<Vec<u8>>, StoreError> {
        let (id, doc) = (uuid(space.as_bytes()), uuid(doc.as_bytes()));
        let key: [Parameter<'_>; 2] = [(&id, Type::UUID), (&doc, Type::UUID)];
        let found = self.primary.with(async |client| Ok(client.query_typed(GRAFTS, &key).await?)).await?;
        found.first().map(|found| row::get(found, 0)).transpose()
    }

    async fn put_snapshot_part(
        &self,
        space: SpaceId,
        doc: DocId,
        hash: Hash,
        part: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        let (id, doc, hash, part) = (uuid(space.as_bytes()), uuid(doc.as_bytes()), hash.0.as_slice(), part as i32);
        let values: [Parameter<'_>; 5] =
            [(&id, Type::UUID), (&doc, Type::UUID), (&hash, Type::BYTEA), (&part, Type::INT4), (&bytes, Type::BYTEA)];
        self.primary
            .with(async |client| {
                client.execute_typed(PUT_PART, &values).await?;
                Ok(())
            })
            .await
    }

    async fn adopt_snapshot(&self, space: SpaceId, new: NewSnapshot) -> Result<bool, StoreError> {
        let begin = self.primary.begin();
        self.primary.with(async |client| adopt(client, begin, space, &new).await).await
    }

    async fn clear_parts(&self, space: SpaceId, doc: DocId, max: u32) -> Result<u64, StoreError> {
        let (id, doc, max) = (uuid(space.as_bytes()), uuid(doc.as_bytes()), i64::from(max));
        let values: [Parameter<'_>; 3] = [(&id, Type::UUID), (&doc, Type::UUID), (&max, Type::INT8)];
        self.primary.with(async |client| Ok(client.execute_typed(CLEAR_PARTS, &values).await?)).await
    }

    async fn drop_payloads(&self, space: SpaceId, doc: DocId, below: u64, seqs: &[u64]) -> Result<(), StoreError> {
        let begin = self.primary.begin();
        self.primary.with(async |client| drop_payloads(client, begin, space, doc, below, seqs).await).await
    }

    async fn payloads_dropped(&self, space: SpaceId, doc: DocId, through: u64) -> Result<(), StoreError> {
        let (id, doc) = (uuid(space.as_bytes()), uuid(doc.as_bytes()));
        let through = i64::try_from(through).unwrap_or(i64::MAX);
        let values: [Parameter<'_>; 3] = [(&id, Type::UUID), (&doc, Type::UUID), (&through, Type::INT8)];
        self.primary
            .with(async |client| {
                client.execute_typed(DROPPED, &values).await?;
                Ok(())
            })
            .await
    }

    async fn forget_snapshot(&self, space: SpaceId, doc: DocId) -> Result<(), StoreError> {
        self.of_document(FORGET, space, doc).await
    }

    async fn document_purged(&self, space: SpaceId, doc: DocId, now_ms: u64) -> Result<(), StoreError> {
        let (id, of, now) = (uuid(space.as_bytes()), uuid(doc.as_bytes()), now_ms as i64);
        let values: [Parameter<'_>; 3] = [(&id, Type::UUID), (&of, Type::UUID), (&now, Type::INT8)];
        self.primary.with(async |client| Ok(client.execute_typed(PURGED, &values).await?)).await?;
        self.of_document(FOLDED, space, doc).await?;
        self.of_document(FORGET_GRAFTS, space, doc).await
    }

    async fn epoch_cleared(&self, space: SpaceId, doc: DocId, epoch_seq: u64) -> Result<(), StoreError> {
        let (id, doc, seq) = (uuid(space.as_bytes()), uuid(doc.as_bytes()), epoch_seq as i64);
        let values: [Parameter<'_>; 3] = [(&id, Type::UUID), (&doc, Type::UUID), (&seq, Type::INT8)];
        self.primary
            .with(async |client| {
                client.execute_typed(EPOCH_CLEARED, &values).await?;
                Ok(())
            })
            .await
    }

    async fn note_unfolded(&self, space: SpaceId, doc: DocId, why: &str, again_ms: u64) -> Result<(), StoreError> {
        let (id, doc, again) = (uuid(space.as_bytes()), uuid(doc.as_bytes()), again_ms as i64);
        let values: [Parameter<'_>; 4] =
            [(&id, Type::UUID), (&doc, Type::UUID), (&why, Type::TEXT), (&again, Type::INT8)];
        self.primary
            .with(async |client| {
                client.execute_typed(UNFOLDED, &values).await?;
                Ok(())
            })
            .await
    }

    async fn note_readers(&self, readers: &[Reader]) -> Result<(), StoreError> {
        // One statement a space, in one order: no transaction spans two, and no two nodes wait for each other.
        let mut readers = readers.to_vec();
        readers.sort_unstable_by_key(|reader| (reader.space, reader.device));
        for of_space in readers.chunk_by(|one, next| one.space == next.space) {
            let space: Vec<Uuid> = of_space.iter().map(|reader| uuid(reader.space.as_bytes())).collect();
            let device: Vec<Uuid> = of_space.iter().map(|reader| uuid(reader.device.as_bytes())).collect();
            let seq: Vec<i64> = of_space.iter().map(|reader| reader.seq as i64).collect();
            let seen: Vec<i64> = of_space.iter().map(|reader| reader.seen_ms as i64).collect();
            let values: [Parameter<'_>; 4] = [
                (&space, Type::UUID_ARRAY),
                (&device, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&seen, Type::INT8_ARRAY),
            ];
            let noted = self.primary.with(async |client| {
                client.execute_typed(READERS, &values).await?;
                Ok(())
            });
            noted.await?;
        }
        Ok(())
    }

    async fn move_horizon(&self, space: SpaceId, active_since_ms: u64, older_than_ms: u64) -> Result<u64, StoreError> {
        self.primary.with(async |client| move_horizon(client, space, active_since_ms, older_than_ms).await).await
    }

    async fn lease_space(&self, space: SpaceId, node: Uuid, for_ms: u64) -> Result<bool, StoreError> {
        let (id, for_ms) = (uuid(space.as_bytes()), for_ms as i64);
        let values: [Parameter<'_>; 3] = [(&id, Type::UUID), (&node, Type::UUID), (&for_ms, Type::INT8)];
        self.primary.with(async |client| Ok(client.execute_typed(LEASE, &values).await? == 1)).await
    }
}
