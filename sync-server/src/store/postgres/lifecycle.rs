//! Spaces as a whole: filled, deleted, cleared away. What changes a space's standing does so under the lock of its row, as
//! commits do.

use async_trait::async_trait;
use sync_core::id::{DocId, SpaceId};
use sync_core::ledger::Role;
use sync_core::log::Cursor;
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::StoreError;
use super::super::lifecycle::{DeletedSpace, Deletion, Filling, Lifecycle, NotFilled, Place, READERS_MAX, Standing};
use super::super::spaces::{Decided, Refusal};
use super::row::{self, uuid};
use super::session::{Parameter, Session};
use super::spaces::locked;
use super::{PostgresStore, commit, members};

const STANDING: &str = "SELECT closed, head_seq, head_chain FROM spaces WHERE space_id = $1";
const CLOSE: &str = "
    UPDATE spaces SET closed = 1, head_seq = 0, head_chain = $2, documents_total = 0, horizon_seq = 0 WHERE space_id = $1";
const OPEN: &str = "UPDATE spaces SET closed = 0 WHERE space_id = $1";
const OWNER: &str = "
    INSERT INTO members (space_id, user_id, role) VALUES ($1, $2, $3)
    ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role";
/// What goes with a space, row by row.
const CLEARED: [&str; 9] = [
    "DELETE FROM payloads WHERE space_id = $1 AND seq IN (SELECT seq FROM payloads WHERE space_id = $1 LIMIT $2)",
    "DELETE FROM snapshot_parts WHERE space_id = $1 AND (doc_id, hash, part) IN
        (SELECT doc_id, hash, part FROM snapshot_parts WHERE space_id = $1 LIMIT $2)",
    "DELETE FROM snapshots WHERE space_id = $1 AND doc_id IN
        (SELECT doc_id FROM snapshots WHERE space_id = $1 LIMIT $2)",
    "DELETE FROM unfolded WHERE space_id = $1 AND doc_id IN (SELECT doc_id FROM unfolded WHERE space_id = $1 LIMIT $2)",
    "DELETE FROM grafts WHERE space_id = $1 AND doc_id IN (SELECT doc_id FROM grafts WHERE space_id = $1 LIMIT $2)",
    "DELETE FROM actors WHERE space_id = $1 AND (doc_id, actor) IN
        (SELECT doc_id, actor FROM actors WHERE space_id = $1 LIMIT $2)",
    "DELETE FROM documents WHERE space_id = $1 AND doc_id IN
        (SELECT doc_id FROM documents WHERE space_id = $1 LIMIT $2)",
    "DELETE FROM feeds WHERE space_id = $1 AND device_id IN (SELECT device_id FROM feeds WHERE space_id = $1 LIMIT $2)",
    "DELETE FROM log WHERE space_id = $1 AND seq IN (SELECT seq FROM log WHERE space_id = $1 LIMIT $2)",
];
const MEMBERS: &str = "SELECT user_id FROM members WHERE space_id = $1";
const DELETE: &str = "
    WITH tombstone AS (
        INSERT INTO deleted_spaces (space_id, deleted_ms) VALUES ($1, $2)
    ), former AS (
        INSERT INTO deleted_members (space_id, user_id)
        SELECT space_id, user_id FROM members WHERE space_id = $1 ON CONFLICT DO NOTHING
    ), entry AS (
        DELETE FROM members WHERE space_id = $1
    ), doors AS (
        DELETE FROM invites WHERE space_id = $1
    ), name AS (
        DELETE FROM space_names WHERE space_id = $1
    )
    UPDATE spaces SET closed = 2 WHERE space_id = $1";
const LOST: &str = "SELECT EXISTS (SELECT 1 FROM deleted_members WHERE space_id = $1 AND user_id = $2)";
const TOMBSTONE: &str = "SELECT deleted_ms, purged_ms FROM deleted_spaces WHERE space_id = $1";
const SINCE: &str = "SELECT space_id FROM deleted_spaces WHERE deleted_ms >= $1 ORDER BY deleted_ms DESC LIMIT $2";
const UNPURGED: &str = "SELECT space_id FROM deleted_spaces WHERE purged_ms IS NULL AND deleted_ms <= $1 LIMIT $2";
const PURGED: &str = "
    WITH places AS (DELETE FROM readers WHERE space_id = $1)
    UPDATE deleted_spaces SET purged_ms = $2 WHERE space_id = $1 AND purged_ms IS NULL";
const DELETION: &str = "
    SELECT d.deleted_seq, (extract(epoch FROM l.received_at) * 1000)::bigint, d.purged, d.purged_ms
    FROM documents d JOIN log l ON l.space_id = d.space_id AND l.seq = d.deleted_seq
    WHERE d.space_id = $1 AND d.doc_id = $2";
const READERS: &str = "SELECT device_id, seq, seen_ms FROM readers WHERE space_id = $1 ORDER BY device_id LIMIT $2";

#[async_trait]
impl Lifecycle for PostgresStore {
    async fn begin_filling(&self, space: SpaceId) -> Result<Result<(), NotFilled>, StoreError> {
        let begin = async |client: &Session| {
            let refused = match standing(client, space).await? {
                Some((Standing::Open, Cursor { seq: 1.., .. })) => Some(NotFilled::Taken),
                Some((Standing::Deleted, _)) => Some(NotFilled::Deleted),
                Some((Standing::Open | Standing::Filling, _)) => None,
                None => return Err(row::corrupt("space that was just made")),
            };
            if refused.is_none() {
                let (id, start) = (uuid(space.as_bytes()), Cursor::start(space).chain.0);
                client.execute_typed(CLOSE, &[(&id, Type::UUID), (&start.as_slice(), Type::BYTEA)]).await?;
            }
            Ok(Ok(refused))
        };
        let begun = self.primary.with(async |client| match members::ensure_space(client, space).await {
            Ok(()) => locked(client, &self.primary, space, begin).await,
            Err(StoreError::DeletedSpace) => Ok(Ok(Some(NotFilled::Deleted))),
            Err(error) => Err(error),
        });
        match begun.await? {
            Ok(None) => Ok(Ok(())),
            Ok(Some(refused)) => Ok(Err(refused)),
            Err(_) => Err(row::corrupt("answer about a space")),
        }
    }

    async fn fill(&self, space: SpaceId, filling: Filling) -> Result<Option<Cursor>, StoreError> {
        self.primary.with(async |client| commit::fill(client, &self.primary, space, filling).await).await
    }

    async fn open_filled(&self, space: SpaceId, head: Cursor, owner: Option<&str>) -> Result<bool, StoreError> {
        let open = async |client: &Session| {
            if standing(client, space).await? != Some((Standing::Filling, head)) {
                return Ok(Ok(false));
            }
            let id = uuid(space.as_bytes());
            client.execute_typed(OPEN, &[(&id, Type::UUID)]).await?;
            if let Some(owner) = owner {
                let role = Role::Owner as i16;
                let member = [(&id as _, Type::UUID), (&owner as _, Type::TEXT), (&role as _, Type::INT2)];
                client.execute_typed(OWNER, &member).await?;
            }
            Ok(Ok(true))
        };
        let opened = self.primary.with(async |client| {
            if let Some(owner) = owner {
                members::name(client, space, owner).await?;
            }
            locked(client, &self.primary, space, open).await
        });
        opened.await?.map_err(|_| row::corrupt("answer about a space"))
    }

    async fn clear_closed(&self, space: SpaceId, max: u32) -> Result<u64, StoreError> {
        let clear = async |client: &Session| {
            match standing(client, space).await? {
                Some((Standing::Deleted, _) | (Standing::Filling, Cursor { seq: 0, .. })) => {}
                // Another import has begun to fill it: what is there is its.
                Some((Standing::Filling, _)) => return Ok(Ok(0)),
                _ => return Err(StoreError::Fault("an open space was to be cleared".into())),
            }
            let (id, max) = (uuid(space.as_bytes()), i64::from(max));
            let mut cleared = 0;
            for sql in CLEARED {
                cleared += client.execute_typed(sql, &[(&id, Type::UUID), (&max, Type::INT8)]).await?;
            }
            Ok(Ok(cleared))
        };
        let cleared = self.primary.with(async |client| locked(client, &self.primary, space, clear).await).await?;
        cleared.map_err(|_| row::corrupt("answer about a space"))
    }

    async fn delete_space(&self, space: SpaceId, by: Option<&str>, now_ms: u64) -> Decided<Vec<String>> {
        let delete = async |client: &Session| {
            if let Some(by) = by {
                match members::role(client, space, by).await? {
                    Some(Role::Owner) => {}
                    Some(_) => return Ok(Err(Refusal::Forbidden)),
                    None => return Ok(Err(Refusal::NotFound)),
                }
            }
            match standing(client, space).await? {
                None | Some((Standing::Deleted, _)) => return Ok(Err(Refusal::NotFound)),
                Some((standing, _)) => standing.pass()?,
            }
            let (id, now) = (uuid(space.as_bytes()), now_ms as i64);
            let former = client.query_typed(MEMBERS, &[(&id, Type::UUID)]).await?;
            let former = former.iter().map(|found| row::get(found, 0)).collect::<Result<Vec<String>, _>>()?;
            client.execute_typed(DELETE, &[(&id, Type::UUID), (&now, Type::INT8)]).await?;
            Ok(Ok(former))
        };
        self.primary.with(async |client| locked(client, &self.primary, space, delete).await).await
    }

    async fn lost_by_deletion(&self, space: SpaceId, user: &str) -> Result<bool, StoreError> {
        let id = uuid(space.as_bytes());
        let wanted: [Parameter<'_>; 2] = [(&id, Type::UUID), (&user, Type::TEXT)];
        let found = self.primary.with(async |client| Ok(client.query_typed(LOST, &wanted).await?)).await?;
        found.first().map_or(Ok(false), |found| row::get(found, 0))
    }

    async fn deleted_space(&self, space: SpaceId) -> Result<Option<DeletedSpace>, StoreError> {
        let id = uuid(space.as_bytes());
        let wanted: [Parameter<'_>; 1] = [(&id, Type::UUID)];
        let found = self.primary.with(async |client| Ok(client.query_typed(TOMBSTONE, &wanted).await?)).await?;
        let tombstone = |found: &Row| {
            let purged: Option<i64> = row::get(found, 1)?;
            let purged_ms = purged.map(|at| at as u64);
            Ok(DeletedSpace { space, deleted_ms: row::number(found, 0)?, purged_ms })
        };
        found.first().map(tombstone).transpose()
    }

    async fn spaces_deleted_since(&self, since_ms: u64, max: u32) -> Result<Vec<SpaceId>, StoreError> {
        let (since, max) = (i64::try_from(since_ms).unwrap_or(i64::MAX), i64::from(max));
        let wanted: [Parameter<'_>; 2] = [(&since, Type::INT8), (&max, Type::INT8)];
        let found = self.primary.with(async |client| Ok(client.query_typed(SINCE, &wanted).await?)).await?;
        found.iter().map(|found| row::space(found, 0)).collect()
    }

    async fn unpurged_spaces(&self, deleted_by_ms: u64, max: u32) -> Result<Vec<SpaceId>, StoreError> {
        let (by, max) = (i64::try_from(deleted_by_ms).unwrap_or(i64::MAX), i64::from(max));
        let wanted: [Parameter<'_>; 2] = [(&by, Type::INT8), (&max, Type::INT8)];
        let found = self.primary.with(async |client| Ok(client.query_typed(UNPURGED, &wanted).await?)).await?;
        found.iter().map(|found| row::space(found, 0)).collect()
    }

    async fn space_purged(&self, space: SpaceId, now_ms: u64) -> Result<(), StoreError> {
        let (id, now) = (uuid(space.as_bytes()), now_ms as i64);
        let values: [Parameter<'_>; 2] = [(&id, Type::UUID), (&now, Type::INT8)];
        self.primary.with(async |client| Ok(client.execute_typed(PURGED, &values).await?)).await?;
        Ok(())
    }

    async fn deletion(&self, space: SpaceId, doc: DocId) -> Result<Option<Deletion>, StoreError> {
        let (id, doc, max) = (uuid(space.as_bytes()), uuid(doc.as_bytes()), READERS_MAX as i64);
        let of_document: [Parameter<'_>; 2] = [(&id, Type::UUID), (&doc, Type::UUID)];
        let of_space: [Parameter<'_>; 2] = [(&id, Type::UUID), (&max, Type::INT8)];
        let (found, readers) = self
            .primary
            .with(async |client| {
                Ok(try_join!(
                    biased;
                    client.query_typed(DELETION, &of_document),
                    client.query_typed(READERS, &of_space),
                )?)
            })
            .await?;
        let Some(found) = found.first() else { return Ok(None) };
        let place = |found: &Row| {
            let (seq, seen_ms) = (row::number(found, 1)?, row::number(found, 2)?);
            Ok::<_, StoreError>(Place { device: row::device(found, 0)?, seq, seen_ms })
        };
        let readers = readers.iter().map(place).collect::<Result<_, _>>()?;
        let purged_ms: Option<i64> = row::get(found, 3)?;
        let (seq, deleted_ms, purged) = (row::number(found, 0)?, row::number(found, 1)?, row::get(found, 2)?);
        Ok(Some(Deletion { seq, deleted_ms, purged, purged_ms: purged_ms.map(|at| at as u64), readers }))
    }
}

async fn standing(client: &Session, space: SpaceId) -> Result<Option<(Standing, Cursor)>, StoreError> {
    let id = uuid(space.as_bytes());
    let found = client.query_typed(STANDING, &[(&id, Type::UUID)]).await?;
    let Some(found) = found.first() else { return Ok(None) };
    let head = Cursor { seq: row::number(found, 1)?, chain: row::hash(found, 2)? };
    Ok(Some((Standing::from_number(row::get::<i16>(found, 0)?.into())?, head)))
}
