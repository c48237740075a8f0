//! Spaces as a whole: filled, deleted, cleared away.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sync_core::id::{DocId, SpaceId};
use sync_core::ledger::Role;
use sync_core::log::Cursor;

use super::super::StoreError;
use super::super::lifecycle::{DeletedSpace, Deletion, Filling, Lifecycle, NotFilled, Place, READERS_MAX, Standing};
use super::super::spaces::{Decided, Refusal};
use super::{SqliteStore, commit, members, row};

/// What goes with a space, row by row; those without rowids by their keys.
const CLEARED: [&str; 9] = [
    "DELETE FROM payloads WHERE rowid IN (SELECT rowid FROM payloads WHERE space_id = ?1 LIMIT ?2)",
    "DELETE FROM snapshot_parts WHERE rowid IN (SELECT rowid FROM snapshot_parts WHERE space_id = ?1 LIMIT ?2)",
    "DELETE FROM snapshots WHERE space_id = ?1 AND doc_id IN
        (SELECT doc_id FROM snapshots WHERE space_id = ?1 LIMIT ?2)",
    "DELETE FROM unfolded WHERE space_id = ?1 AND doc_id IN (SELECT doc_id FROM unfolded WHERE space_id = ?1 LIMIT ?2)",
    "DELETE FROM grafts WHERE space_id = ?1 AND doc_id IN (SELECT doc_id FROM grafts WHERE space_id = ?1 LIMIT ?2)",
    "DELETE FROM actors WHERE space_id = ?1 AND (doc_id, actor) IN
        (SELECT doc_id, actor FROM actors WHERE space_id = ?1 LIMIT ?2)",
    "DELETE FROM documents WHERE space_id = ?1 AND doc_id IN
        (SELECT doc_id FROM documents WHERE space_id = ?1 LIMIT ?2)",
    "DELETE FROM feeds WHERE space_id = ?1 AND device_id IN (SELECT device_id FROM feeds WHERE space_id = ?1 LIMIT ?2)",
    "DELETE FROM log WHERE space_id = ?1 AND seq IN (SELECT seq FROM log WHERE space_id = ?1 LIMIT ?2)",
];

#[async_trait]
impl Lifecycle for SqliteStore {
    async fn begin_filling(&self, space: SpaceId) -> Result<Result<(), NotFilled>, StoreError> {
        self.write(move |connection| begin_filling(connection, space)).await
    }

    async fn fill(&self, space: SpaceId, filling: Filling) -> Result<Option<Cursor>, StoreError> {
        self.write(move |connection| commit::fill(connection, space, filling)).await
    }

    async fn open_filled(&self, space: SpaceId, head: Cursor, owner: Option<&str>) -> Result<bool, StoreError> {
        let owner = owner.map(str::to_owned);
        self.write(move |connection| open_filled(connection, space, head, owner.as_deref())).await
    }

    async fn clear_closed(&self, space: SpaceId, max: u32) -> Result<u64, StoreError> {
        self.write(move |connection| clear(connection, space, max)).await
    }

    async fn delete_space(&self, space: SpaceId, by: Option<&str>, now_ms: u64) -> Decided<Vec<String>> {
        let by = by.map(str::to_owned);
        self.write(move |connection| delete(connection, space, by.as_deref(), now_ms)).await
    }

    async fn lost_by_deletion(&self, space: SpaceId, user: &str) -> Result<bool, StoreError> {
        let user = user.to_owned();
        let sql = "SELECT EXISTS (SELECT 1 FROM deleted_members WHERE space_id = ?1 AND user_id = ?2)";
        self.read(move |connection| {
            Ok(connection.query_row(sql, params![space.as_bytes(), user], |found| found.get(0))?)
        })
        .await
    }

    async fn deleted_space(&self, space: SpaceId) -> Result<Option<DeletedSpace>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT deleted_ms, purged_ms FROM deleted_spaces WHERE space_id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([space.as_bytes()])?;
            let Some(found) = rows.next()? else { return Ok(None) };
            let purged: Option<i64> = found.get(1)?;
            let purged_ms = purged.map(|at| at as u64);
            Ok(Some(DeletedSpace { space, deleted_ms: row::number(found, 0)?, purged_ms }))
        })
        .await
    }

    async fn spaces_deleted_since(&self, since_ms: u64, max: u32) -> Result<Vec<SpaceId>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT space_id FROM deleted_spaces WHERE deleted_ms >= ?1 ORDER BY deleted_ms DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![i64::try_from(since_ms).unwrap_or(i64::MAX), max])?;
            let mut spaces = Vec::new();
            while let Some(found) = rows.next()? {
                spaces.push(row::space(found, 0)?);
            }
            Ok(spaces)
        })
        .await
    }

    async fn unpurged_spaces(&self, deleted_by_ms: u64, max: u32) -> Result<Vec<SpaceId>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT space_id FROM deleted_spaces WHERE purged_ms IS NULL AND deleted_ms <= ?1 LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![i64::try_from(deleted_by_ms).unwrap_or(i64::MAX), max])?;
            let mut spaces = Vec::new();
            while let Some(found) = rows.next()? {
                spaces.push(row::space(found, 0)?);
            }
            Ok(spaces)
        })
        .await
    }

    async fn space_purged(&self, space: SpaceId, now_ms: u64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("DELETE FROM readers WHERE space_id = ?1", [space.as_bytes()])?;
            let update = "UPDATE deleted_spaces SET purged_ms = ?2 WHERE space_id = ?1 AND purged_ms IS NULL";
            transaction.execute(update, params![space.as_bytes(), now_ms as i64])?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn deletion(&self, space: SpaceId, doc: DocId) -> Result<Option<Deletion>, StoreError> {
        self.read(move |connection| deletion(connection, space, doc)).await
    }
}

fn standing(connection: &Connection, space: SpaceId) -> Result<Option<(Standing, Cursor)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT closed, head_seq, head_chain FROM spaces WHERE space_id = ?1")?;
    let mut rows = statement.query([space.as_bytes()])?;
    let Some(found) = rows.next()? else { return Ok(None) };
    let head = Cursor { seq: row::number(found, 1)?, chain: row::hash(found, 2)? };
    Ok(Some((Standing::from_number(found.get(0)?)?, head)))
}

fn begin_filling(connection: &mut Connection, space: SpaceId) -> Result<Result<(), NotFilled>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match standing(&transaction, space)? {
        None => members::ensure_space(&transaction, space)?,
        Some((Standing::Open, Cursor { seq: 1.., .. })) => return Ok(Err(NotFilled::Taken)),
        Some((Standing::Deleted, _)) => return Ok(Err(NotFilled::Deleted)),
        Some((Standing::Open | Standing::Filling, _)) => {}
    }
    let close = "UPDATE spaces SET closed = 1, head_seq = 0, head_chain = ?2, documents_total = 0, horizon_seq = 0
                 WHERE space_id = ?1";
    transaction.execute(close, params![space.as_bytes(), Cursor::start(space).chain.0])?;
    transaction.commit()?;
    Ok(Ok(()))
}

fn open_filled(
    connection: &mut Connection,
    space: SpaceId,
    head: Cursor,
    owner: Option<&str>,
) -> Result<bool, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if standing(&transaction, space)? != Some((Standing::Filling, head)) {
        return Ok(false);
    }
    transaction.execute("UPDATE spaces SET closed = 0 WHERE space_id = ?1", [space.as_bytes()])?;
    if let Some(owner) = owner {
        let insert = "INSERT INTO members (space_id, user_id, role) VALUES (?1, ?2, ?3)
                      ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role";
        transaction.execute(insert, params![space.as_bytes(), owner, Role::Owner as u8])?;
    }
    transaction.commit()?;
    Ok(true)
}

fn clear(connection: &mut Connection, space: SpaceId, max: u32) -> Result<u64, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match standing(&transaction, space)? {
        Some((Standing::Deleted, _) | (Standing::Filling, Cursor { seq: 0, .. })) => {}
        // Another import has begun to fill it: what is there is its.
        Some((Standing::Filling, _)) => return Ok(0),
        _ => return Err(StoreError::Fault("an open space was to be cleared".into())),
    }
    let mut cleared = 0;
    for sql in CLEARED {
        cleared += transaction.prepare_cached(sql)?.execute(params![space.as_bytes(), max])? as u64;
    }
    transaction.commit()?;
    Ok(cleared)
}

fn delete(connection: &mut Connection, space: SpaceId, by: Option<&str>, now_ms: u64) -> Decided<Vec<String>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(by) = by {
        match members::role(&transaction, space, by)? {
            Some(Role::Owner) => {}
            Some(_) => return Ok(Err(Refusal::Forbidden)),
            None => return Ok(Err(Refusal::NotFound)),
        }
    }
    match standing(&transaction, space)? {
        None | Some((Standing::Deleted, _)) => return Ok(Err(Refusal::NotFound)),
        Some((standing, _)) => standing.pass()?,
    }
    let id = space.as_bytes();
    let former = {
        let mut statement = transaction.prepare_cached("SELECT user_id FROM members WHERE space_id = ?1")?;
        statement.query_map([id], |found| found.get(0))?.collect::<Result<Vec<String>, _>>()?
    };
    let tombstone = "INSERT INTO deleted_spaces (space_id, deleted_ms) VALUES (?1, ?2)";
    transaction.execute(tombstone, params![id, now_ms as i64])?;
    let keep = "INSERT OR IGNORE INTO deleted_members (space_id, user_id)
                SELECT space_id, user_id FROM members WHERE space_id = ?1";
    transaction.execute(keep, [id])?;
    for table in ["members", "invites", "space_names"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE space_id = ?1"), [id])?;
    }
    transaction.execute("UPDATE spaces SET closed = 2 WHERE space_id = ?1", [id])?;
    transaction.commit()?;
    Ok(Ok(former))
}

fn deletion(connection: &mut Connection, space: SpaceId, doc: DocId) -> Result<Option<Deletion>, StoreError> {
    let moment = connection.transaction()?;
    let found = moment
        .query_row(
            "SELECT d.deleted_seq, l.received_ms, d.purged, d.purged_ms
             FROM documents d JOIN log l ON l.space_id = d.space_id AND l.seq = d.deleted_seq
             WHERE d.space_id = ?1 AND d.doc_id = ?2",
            params![space.as_bytes(), doc.as_bytes()],
            |found| {
                Ok((found.get::<_, i64>(0)?, found.get::<_, i64>(1)?, found.get(2)?, found.get::<_, Option<i64>>(3)?))
            },
        )
        .optional()?;
    let Some((seq, deleted_ms, purged, purged_ms)) = found else { return Ok(None) };
    let sql = "SELECT device_id, seq, seen_ms FROM readers WHERE space_id = ?1 ORDER BY device_id LIMIT ?2";
    let mut statement = moment.prepare_cached(sql)?;
    let mut rows = statement.query(params![space.as_bytes(), READERS_MAX as i64])?;
    let mut readers = Vec::new();
    while let Some(found) = rows.next()? {
        let (seq, seen_ms) = (row::number(found, 1)?, row::number(found, 2)?);
        readers.push(Place { device: row::device(found, 0)?, seq, seen_ms });
    }
    let (seq, deleted_ms, purged_ms) = (seq as u64, deleted_ms as u64, purged_ms.map(|at| at as u64));
    Ok(Some(Deletion { seq, deleted_ms, purged, purged_ms, readers }))
}
