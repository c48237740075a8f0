//! What compaction keeps.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use sync_core::feed::ChangeId;
use sync_core::id::{ACTORS_OF_STRUCTURES, DocId, Hash, SpaceId};
use uuid::Uuid;

use super::super::StoreError;
use super::super::snapshots::{
    Amount, DocumentState, HORIZON_STEP, NewSnapshot, Range, Reader, Snapshots, StoredChange, StoredSnapshot,
};
use super::commit::now_ms;
use super::{SqliteStore, row};

const STATE: &str = "
    SELECT d.space_id, d.doc_id, d.deleted_seq IS NOT NULL, d.purged, d.tail_changes, d.tail_bytes,
           s.seq, s.hash, s.size, s.heads, s.changes, s.payload_bytes, s.below_seq, s.dropped_seq,
           p.horizon_seq, p.head_seq, u.failures, u.again_ms, d.epoch_seq, d.epoch_cleared,
           EXISTS (SELECT 1 FROM grafts g WHERE g.space_id = d.space_id AND g.doc_id = d.doc_id)
    FROM documents d
    LEFT JOIN snapshots s ON s.space_id = d.space_id AND s.doc_id = d.doc_id
    LEFT JOIN spaces p ON p.space_id = d.space_id
    LEFT JOIN unfolded u ON u.space_id = d.space_id AND u.doc_id = d.doc_id";

/// By the log's own order, or by the document's entries, whichever are fewer.
const CHANGES_OF_MANY: &str = "
    SELECT l.seq, (SELECT length(bytes) FROM payloads p WHERE p.space_id = l.space_id AND p.seq = l.seq)
    FROM log l WHERE l.space_id = ?1 AND +l.doc_id = ?2 AND l.kind = 2 AND l.verdict = 0 AND l.seq > ?3 AND l.seq <= ?4
    ORDER BY l.seq LIMIT ?5";
const CHANGES_OF_FEW: &str = "
    SELECT l.seq, (SELECT length(bytes) FROM payloads p WHERE p.space_id = l.space_id AND p.seq = l.seq)
    FROM log l INDEXED BY log_by_hash
    WHERE l.space_id = ?1 AND l.doc_id = ?2 AND l.kind = 2 AND l.verdict = 0 AND +l.seq > ?3 AND +l.seq <= ?4
    ORDER BY l.seq LIMIT ?5";

fn state(found: &Row<'_>) -> Result<DocumentState, StoreError> {
    let optional = |at: usize| -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = found.get(at)?;
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
        deleted: found.get(2)?,
        purged: found.get(3)?,
        tail,
        snapshot,
        horizon_seq: optional(14)?.unwrap_or(0),
        head_seq: optional(15)?.unwrap_or(0),
        unfolded: optional(16)?.zip(optional(17)?),
        epoch_seq: row::number(found, 18)?,
        epoch_cleared: found.get(19)?,
        grafted: found.get(20)?,
    })
}

fn states(
    connection: &Connection,
    condition: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<DocumentState>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{STATE} {condition}"))?;
    let mut rows = statement.query(parameters)?;
    let mut states = Vec::new();
    while let Some(found) = rows.next()? {
        states.push(state(found)?);
    }
    Ok(states)
}

/// How changes of a document stand, as it is stored.
pub(super) fn grafts(connection: &Connection, space: SpaceId, doc: DocId) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT bytes FROM grafts WHERE space_id = ?1 AND doc_id = ?2")?;
    Ok(statement.query_row(params![space.as_bytes(), doc.as_bytes()], |found| found.get(0)).optional()?)
}

fn changes_at(connection: &mut Connection, space: SpaceId, seqs: &[u64]) -> Result<Vec<StoredChange>, StoreError> {
    let moment = connection.transaction()?;
    let mut statement = moment.prepare_cached(
        "SELECT l.hash, l.deps, (SELECT p.bytes FROM payloads p WHERE p.space_id = l.space_id AND p.seq = l.seq),
                substr(l.actor, 1, 8) = ?3 AND EXISTS (
                    SELECT 1 FROM log b WHERE b.space_id = l.space_id AND b.doc_id = l.doc_id AND b.hash = l.hash
                    AND b.kind = 2 AND b.verdict = 0 AND b.seq < l.seq),
                l.device_id, l.n
         FROM log l WHERE l.space_id = ?1 AND l.seq = ?2",
    )?;
    let mut changes = Vec::with_capacity(seqs.len());
    for &seq in seqs {
        let mut rows = statement.query(params![space.as_bytes(), seq as i64, ACTORS_OF_STRUCTURES])?;
        let found = rows.next()?.ok_or_else(|| row::corrupt("log without holes"))?;
        changes.push(StoredChange {
            seq,
            hash: row::hash(found, 0)?,
            deps: row::hashes(found, 1)?,
            repeats: found.get(3)?,
            bytes: found.get(2)?,
            id: ChangeId { device: row::device(found, 4)?, n: row::number(found, 5)? },
        });
    }
    Ok(changes)
}

fn adopt(connection: &mut Connection, space: SpaceId, new: &NewSnapshot) -> Result<bool, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (id, doc) = (space.as_bytes(), new.doc.as_bytes());
    let StoredSnapshot { seq, hash, size, heads, changes, payload_bytes, .. } = &new.snapshot;
    let stands = transaction
        .query_row(
            "SELECT (SELECT deleted_seq IS NULL AND epoch_seq < ?4 FROM documents WHERE space_id = ?1 AND doc_id = ?2)
                    AND (SELECT hash FROM snapshots WHERE space_id = ?1 AND doc_id = ?2) IS ?3
                    AND EXISTS (SELECT 1 FROM log WHERE space_id = ?1 AND seq = ?4 AND doc_id = ?2 AND hash = ?5
                                AND kind = 2 AND verdict = 0)",
            params![id, doc, new.from.map(|hash| hash.0), *seq as i64, new.newest.0],
            |found| found.get::<_, Option<bool>>(0),
        )?
        .unwrap_or(false);
    if !stands {
        return Ok(false);
    }
    transaction.execute(
        "INSERT INTO snapshots (space_id, doc_id, seq, hash, size, heads, changes, payload_bytes, below_seq, dropped_seq,
                                made_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, ?9)
         ON CONFLICT (space_id, doc_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, size = excluded.size,
             heads = excluded.heads, changes = excluded.changes, payload_bytes = excluded.payload_bytes,
             made_ms = excluded.made_ms",
        params![
            id,
            doc,
            *seq as i64,
            hash.0,
            *size as i64,
            heads.iter().flat_map(|head| head.0).collect::<Vec<u8>>(),
            *changes as i64,
            *payload_bytes as i64,
            now_ms(),
        ],
    )?;
    transaction.execute(
        "UPDATE documents SET tail_changes = max(0, tail_changes - ?3), tail_bytes = max(0, tail_bytes - ?4)
         WHERE space_id = ?1 AND doc_id = ?2",
        params![id, doc, new.folded.changes as i64, new.folded.bytes as i64],
    )?;
    transaction.execute("DELETE FROM unfolded WHERE space_id = ?1 AND doc_id = ?2", params![id, doc])?;
    transaction.commit()?;
    Ok(true)
}

fn drop_payloads(
    connection: &mut Connection,
    space: SpaceId,
    doc: DocId,
    below: u64,
    seqs: &[u64],
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let covered: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM documents WHERE space_id = ?1 AND doc_id = ?2
                        AND (deleted_seq IS NOT NULL OR epoch_seq > ?3))
             OR EXISTS (SELECT 1 FROM snapshots WHERE space_id = ?1 AND doc_id = ?2 AND seq >= ?3)",
        params![space.as_bytes(), doc.as_bytes(), below as i64],
        |found| found.get(0),
    )?;
    if !covered && !sync_core::mutation!("drops-what-no-snapshot-covers") {
        return Err(StoreError::Fault("payloads that no snapshot covers were to be dropped".into()));
    }
    transaction.execute(
        "UPDATE snapshots SET below_seq = max(below_seq, ?3) WHERE space_id = ?1 AND doc_id = ?2",
        params![space.as_bytes(), doc.as_bytes(), below as i64],
    )?;
    {
        let mut statement = transaction.prepare_cached("DELETE FROM payloads WHERE space_id = ?1 AND seq = ?2")?;
        for seq in seqs.iter().filter(|seq| **seq <= below) {
            statement.execute(params![space.as_bytes(), *seq as i64])?;
        }
    }
    Ok(transaction.commit()?)
}

/// Where a space's horizon is, and where it may be.
fn horizon(
    connection: &mut Connection,
    space: SpaceId,
    active_since_ms: u64,
    older_than_ms: u64,
) -> Result<(i64, i64), StoreError> {
    let id = space.as_bytes();
    let moment = connection.transaction()?;
    let (horizon, head) = moment
        .query_row("SELECT horizon_seq, head_seq FROM spaces WHERE space_id = ?1", [id], |found| {
            Ok((found.get::<_, i64>(0)?, found.get::<_, i64>(1)?))
        })
        .optional()?
        .ok_or(StoreError::UnknownSpace)?;
    let read_by_all: Option<i64> = moment.query_row(
        "SELECT min(seq) FROM readers WHERE space_id = ?1 AND seen_ms >= ?2",
        params![id, active_since_ms as i64],
        |found| found.get(0),
    )?;
    let end = head.min(horizon + HORIZON_STEP as i64);
    let young: Option<i64> = moment
        .query_row(
            "SELECT seq FROM log WHERE space_id = ?1 AND seq > ?2 AND seq <= ?3 AND received_ms >= ?4
             ORDER BY seq LIMIT 1",
            params![id, horizon, end, older_than_ms as i64],
            |found| found.get(0),
        )
        .optional()?;
    let old = young.map_or(end, |seq| seq - 1);
    Ok((horizon, horizon.max(old).max(read_by_all.unwrap_or(0)).min(head)))
}

#[async_trait]
impl Snapshots for SqliteStore {
    async fn documents_after(
        &self,
        after: Option<(SpaceId, DocId)>,
        max: u32,
    ) -> Result<Vec<DocumentState>, StoreError> {
        self.read(move |connection| match after {
            None => states(connection, "WHERE p.closed = 0 ORDER BY d.space_id, d.doc_id LIMIT ?1", params![max]),
            Some((space, doc)) => states(
                connection,
                "WHERE (d.space_id, d.doc_id) > (?1, ?2) AND p.closed = 0 ORDER BY d.space_id, d.doc_id LIMIT ?3",
                params![space.as_bytes(), doc.as_bytes(), max],
            ),
        })
        .await
    }

    async fn document_state(&self, space: SpaceId, doc: DocId) -> Result<Option<DocumentState>, StoreError> {
        self.read(move |connection| {
            let key = params![space.as_bytes(), doc.as_bytes()];
            Ok(states(connection, "WHERE d.space_id = ?1 AND d.doc_id = ?2", key)?.pop())
        })
        .await
    }

    async fn changes_in(
        &self,
        space: SpaceId,
        doc: DocId,
        range: Range,
        max: usize,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        self.read(move |connection| {
            let sql = if range.few { CHANGES_OF_FEW } else { CHANGES_OF_MANY };
            let mut statement = connection.prepare_cached(sql)?;
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            let through = i64::try_from(range.through).unwrap_or(i64::MAX);
            let mut rows =
                statement.query(params![space.as_bytes(), doc.as_bytes(), range.after as i64, through, max])?;
            let mut changes = Vec::new();
            while let Some(found) = rows.next()? {
                changes.push((row::number(found, 0)?, found.get::<_, Option<i64>>(1)?.unwrap_or(0) as u64));
            }
            Ok(changes)
        })
        .await
    }

    async fn changes_at(&self, space: SpaceId, seqs: &[u64]) -> Result<Vec<StoredChange>, StoreError> {
        let seqs = seqs.to_vec();
        self.read(move |connection| changes_at(connection, space, &seqs)).await
    }

    async fn count_tail(&self, space: SpaceId, doc: DocId, tail: Amount) -> Result<(), StoreError> {
        let update = "UPDATE documents SET tail_changes = ?3, tail_bytes = ?4
                      WHERE space_id = ?1 AND doc_id = ?2 AND tail_changes IS NULL";
        self.write(move |connection| {
            let key = params![space.as_bytes(), doc.as_bytes(), tail.changes as i64, tail.bytes as i64];
            connection.execute(update, key)?;
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
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT bytes FROM snapshot_parts WHERE space_id = ?1 AND doc_id = ?2 AND hash = ?3 AND part = ?4",
            )?;
            let key = params![space.as_bytes(), doc.as_bytes(), hash.0, part];
            Ok(statement.query_row(key, |found| found.get(0)).optional()?)
        })
        .await
    }

    async fn grafts(&self, space: SpaceId, doc: DocId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |connection| grafts(connection, space, doc)).await
    }

    async fn put_snapshot_part(
        &self,
        space: SpaceId,
        doc: DocId,
        hash: Hash,
        part: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        let insert = "INSERT OR REPLACE INTO snapshot_parts (space_id, doc_id, hash, part, bytes)
                      VALUES (?1, ?2, ?3, ?4, ?5)";
        self.write(move |connection| {
            connection.execute(insert, params![space.as_bytes(), doc.as_bytes(), hash.0, part, bytes])?;
            Ok(())
        })
        .await
    }

    async fn adopt_snapshot(&self, space: SpaceId, new: NewSnapshot) -> Result<bool, StoreError> {
        self.write(move |connection| adopt(connection, space, &new)).await
    }

    async fn clear_parts(&self, space: SpaceId, doc: DocId, max: u32) -> Result<u64, StoreError> {
        let delete = "DELETE FROM snapshot_parts WHERE rowid IN (
                          SELECT rowid FROM snapshot_parts
                          WHERE space_id = ?1 AND doc_id = ?2 AND hash IS NOT
                                (SELECT hash FROM snapshots WHERE space_id = ?1 AND doc_id = ?2)
                          LIMIT ?3)";
        self.write(move |connection| {
            Ok(connection.execute(delete, params![space.as_bytes(), doc.as_bytes(), max])? as u64)
        })
        .await
    }

    async fn drop_payloads(&self, space: SpaceId, doc: DocId, below: u64, seqs: &[u64]) -> Result<(), StoreError> {
        let seqs = seqs.to_vec();
        self.write(move |connection| drop_payloads(connection, space, doc, below, &seqs)).await
    }

    async fn payloads_dropped(&self, space: SpaceId, doc: DocId, through: u64) -> Result<(), StoreError> {
        let update = "UPDATE snapshots SET dropped_seq = max(dropped_seq, min(below_seq, ?3))
                      WHERE space_id = ?1 AND doc_id = ?2";
        let through = i64::try_from(through).unwrap_or(i64::MAX);
        self.write(move |connection| {
            connection.execute(update, params![space.as_bytes(), doc.as_bytes(), through])?;
            Ok(())
        })
        .await
    }

    async fn forget_snapshot(&self, space: SpaceId, doc: DocId) -> Result<(), StoreError> {
        let delete = "DELETE FROM snapshots WHERE space_id = ?1 AND doc_id = ?2 AND EXISTS (
                          SELECT 1 FROM documents WHERE space_id = ?1 AND doc_id = ?2 AND deleted_seq IS NOT NULL)";
        self.write(move |connection| {
            connection.execute(delete, params![space.as_bytes(), doc.as_bytes()])?;
            Ok(())
        })
        .await
    }

    async fn document_purged(&self, space: SpaceId, doc: DocId, now_ms: u64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let key = params![space.as_bytes(), doc.as_bytes()];
            let purge = "UPDATE documents SET purged = 1, tail_changes = 0, tail_bytes = 0,
                                purged_ms = coalesce(purged_ms, ?3)
                         WHERE space_id = ?1 AND doc_id = ?2 AND deleted_seq IS NOT NULL";
            transaction.execute(purge, params![space.as_bytes(), doc.as_bytes(), now_ms as i64])?;
            transaction.execute("DELETE FROM unfolded WHERE space_id = ?1 AND doc_id = ?2", key)?;
            transaction.execute("DELETE FROM grafts WHERE space_id = ?1 AND doc_id = ?2", key)?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn epoch_cleared(&self, space: SpaceId, doc: DocId, epoch_seq: u64) -> Result<(), StoreError> {
        let update = "UPDATE documents SET epoch_cleared = 1 WHERE space_id = ?1 AND doc_id = ?2 AND epoch_seq = ?3";
        self.write(move |connection| {
            connection.execute(update, params![space.as_bytes(), doc.as_bytes(), epoch_seq as i64])?;
            Ok(())
        })
        .await
    }

    async fn note_unfolded(&self, space: SpaceId, doc: DocId, why: &str, again_ms: u64) -> Result<(), StoreError> {
        let why = why.to_owned();
        let insert = "INSERT INTO unfolded (space_id, doc_id, why, failures, again_ms) VALUES (?1, ?2, ?3, 1, ?4)
                      ON CONFLICT (space_id, doc_id) DO UPDATE SET
                          why = excluded.why, failures = failures + 1, again_ms = excluded.again_ms";
        self.write(move |connection| {
            connection.execute(insert, params![space.as_bytes(), doc.as_bytes(), why, again_ms as i64])?;
            Ok(())
        })
        .await
    }

    async fn note_readers(&self, readers: &[Reader]) -> Result<(), StoreError> {
        let readers = readers.to_vec();
        self.write(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut statement = transaction.prepare_cached(
                    "INSERT INTO readers (space_id, device_id, seq, seen_ms) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (space_id, device_id) DO UPDATE SET seq = excluded.seq, seen_ms = excluded.seen_ms",
                )?;
                for Reader { space, device, seq, seen_ms } in readers {
                    statement.execute(params![space.as_bytes(), device.as_bytes(), seq as i64, seen_ms as i64])?;
                }
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn move_horizon(&self, space: SpaceId, active_since_ms: u64, older_than_ms: u64) -> Result<u64, StoreError> {
        // Looking for it may take a while, and pushes wait behind the writer.
        let (horizon, moved) =
            self.read(move |connection| horizon(connection, space, active_since_ms, older_than_ms)).await?;
        if moved > horizon {
            let update = "UPDATE spaces SET horizon_seq = max(horizon_seq, min(?2, head_seq)) WHERE space_id = ?1";
            self.write(move |connection| Ok(connection.execute(update, params![space.as_bytes(), moved])?)).await?;
        }
        u64::try_from(moved).map_err(|_| row::corrupt("number"))
    }

    async fn lease_space(&self, space: SpaceId, node: Uuid, for_ms: u64) -> Result<bool, StoreError> {
        let lease = "INSERT INTO compactors (space_id, node, until_ms) VALUES (?1, ?2, ?3)
                     ON CONFLICT (space_id) DO UPDATE SET node = excluded.node, until_ms = excluded.until_ms
                     WHERE node = excluded.node OR until_ms <= ?4";
        self.write(move |connection| {
            let now = now_ms();
            let parameters = params![space.as_bytes(), node.as_bytes(), now.saturating_add(for_ms as i64), now];
            Ok(connection.execute(lease, parameters)? == 1)
        })
        .await
    }
}
