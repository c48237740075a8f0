//! The audit log, and what flags need to know. Whoever wants it append-only grants the server no more than INSERT and SELECT
//! on `audit`: nothing here changes a row, and purging is a command of its own.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::super::StoreError;
use super::super::audit::{Audit, AuditFilter, AuditId, AuditRow, LastSeen, PAGE_ROWS_MAX, may_purge};
use super::PostgresStore;
use super::row::{self, uuid};
use super::session::Session;

/// One statement a user: rows of two users are of two shards.
const APPEND: &str = "
    INSERT INTO audit (user_id, at_ms, id, kind, device_id, space_id, address, request_id, detail)
    SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[])
    ON CONFLICT DO NOTHING";
const READ: &str = "
    SELECT user_id, at_ms, id, kind, device_id, space_id, address, request_id, detail FROM audit
    WHERE ($1::text IS NULL OR user_id = $1) AND ($2::text IS NULL OR kind = $2)
      AND ($3::text IS NULL OR starts_with(kind, $3)) AND ($4::uuid IS NULL OR space_id = $4)
      AND at_ms >= $5 AND at_ms < $6 AND (at_ms, id) < ($7, $8)
    ORDER BY at_ms DESC, id DESC LIMIT $9";
const READ_OF_USER: &str = "
    SELECT user_id, at_ms, id, kind, device_id, space_id, address, request_id, detail FROM audit
    WHERE user_id = $1 AND ($2::text IS NULL OR kind = $2)
      AND ($3::text IS NULL OR starts_with(kind, $3)) AND ($4::uuid IS NULL OR space_id = $4)
      AND at_ms >= $5 AND at_ms < $6 AND (at_ms, id) < ($7, $8)
    ORDER BY at_ms DESC, id DESC LIMIT $9";
const PURGE: &str = "
    DELETE FROM audit WHERE (user_id, at_ms, id) IN (
        SELECT user_id, at_ms, id FROM audit WHERE at_ms < $1 ORDER BY at_ms LIMIT $2 FOR UPDATE SKIP LOCKED)";
/// A node whose clock is behind, or that was slow, tells nothing new.
const SEE: &str = "
    WITH before AS MATERIALIZED (SELECT country, at_ms FROM last_seen WHERE user_id = $1),
    seen AS (
        INSERT INTO last_seen (user_id, country, at_ms) VALUES ($1, $2, $3)
        ON CONFLICT (user_id) DO UPDATE SET country = excluded.country, at_ms = excluded.at_ms
        WHERE last_seen.at_ms <= excluded.at_ms)
    SELECT country, at_ms FROM before";
const CLAIM: &str = "
    INSERT INTO flagged (user_id, kind, at_ms) VALUES ($1, $2, $3)
    ON CONFLICT (user_id, kind) DO UPDATE SET at_ms = excluded.at_ms WHERE flagged.at_ms <= $4";

#[async_trait]
impl Audit for PostgresStore {
    async fn append_audit(&self, mut rows: Vec<AuditRow>) -> Result<(), StoreError> {
        rows.sort_by(|one, other| one.user.cmp(&other.user));
        self.primary
            .with(async |client| {
                for of_user in rows.chunk_by(|one, other| one.user == other.user) {
                    append(client, of_user).await?;
                }
                Ok(())
            })
            .await
    }

    async fn read_audit(&self, filter: AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
        self.primary.with(async |client| read(client, &filter).await).await
    }

    async fn purge_audit(&self, before_ms: u64, now_ms: u64, rows_max: u32) -> Result<u64, StoreError> {
        may_purge(before_ms, now_ms)?;
        let (before, max) = (before_ms as i64, i64::from(rows_max));
        let wanted: [(&(dyn ToSql + Sync), Type); 2] = [(&before, Type::INT8), (&max, Type::INT8)];
        self.primary.with(async |client| Ok(client.execute_typed(PURGE, &wanted).await?)).await
    }

    async fn see(&self, user: &str, country: &str, at_ms: u64) -> Result<Option<LastSeen>, StoreError> {
        let at = at_ms as i64;
        let wanted: [(&(dyn ToSql + Sync), Type); 3] = [(&user, Type::TEXT), (&country, Type::TEXT), (&at, Type::INT8)];
        let found = self.primary.with(async |client| Ok(client.query_typed(SEE, &wanted).await?)).await?;
        let read = |found: &Row| Ok(LastSeen { country: row::get(found, 0)?, at_ms: row::number(found, 1)? });
        found.first().map(read).transpose()
    }

    async fn claim_flag(&self, user: &str, kind: &str, at_ms: u64, apart: Duration) -> Result<bool, StoreError> {
        let (at, before) = (at_ms as i64, at_ms.saturating_sub(apart.as_millis() as u64) as i64);
        let wanted: [(&(dyn ToSql + Sync), Type); 4] =
            [(&user, Type::TEXT), (&kind, Type::TEXT), (&at, Type::INT8), (&before, Type::INT8)];
        self.primary.with(async |client| Ok(client.execute_typed(CLAIM, &wanted).await? == 1)).await
    }
}

/// Rows of one user.
async fn append(client: &Session, rows: &[AuditRow]) -> Result<(), StoreError> {
    let Some(AuditRow { user, .. }) = rows.first() else { return Ok(()) };
    let at: Vec<i64> = rows.iter().map(|row| row.at_ms as i64).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| uuid(&row.id.0)).collect();
    let kinds: Vec<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
    let devices: Vec<Option<Uuid>> = rows.iter().map(|row| Some(uuid(row.device.as_ref()?.as_bytes()))).collect();
    let spaces: Vec<Option<Uuid>> = rows.iter().map(|row| Some(uuid(row.space.as_ref()?.as_bytes()))).collect();
    let addresses: Vec<Option<&str>> = rows.iter().map(|row| row.address.as_deref()).collect();
    let requests: Vec<Option<&str>> = rows.iter().map(|row| row.request_id.as_deref()).collect();
    let details: Vec<Option<&str>> = rows.iter().map(|row| row.detail.as_deref()).collect();
    let values: [(&(dyn ToSql + Sync), Type); 9] = [
        (user, Type::TEXT),
        (&at, Type::INT8_ARRAY),
        (&ids, Type::UUID_ARRAY),
        (&kinds, Type::TEXT_ARRAY),
        (&devices, Type::UUID_ARRAY),
        (&spaces, Type::UUID_ARRAY),
        (&addresses, Type::TEXT_ARRAY),
        (&requests, Type::TEXT_ARRAY),
        (&details, Type::TEXT_ARRAY),
    ];
    client.execute_typed(APPEND, &values).await?;
    Ok(())
}

async fn read(client: &Session, filter: &AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
    let (kind, start) = filter.kinds();
    let space = filter.space.as_ref().map(|space| uuid(space.as_bytes()));
    let (since, until) = (filter.since_ms.unwrap_or(0) as i64, filter.until_ms.map_or(i64::MAX, |until| until as i64));
    // Behind every row there can be.
    let (after, after_id) = filter.after.map_or((i64::MAX, AuditId([255; 16])), |at| (at.at_ms as i64, at.id));
    let (after_id, limit) = (uuid(&after_id.0), i64::from(filter.limit.min(PAGE_ROWS_MAX)));
    let wanted: [(&(dyn ToSql + Sync), Type); 9] = [
        (&filter.user, Type::TEXT),
        (&kind, Type::TEXT),
        (&start, Type::TEXT),
        (&space, Type::UUID),
        (&since, Type::INT8),
        (&until, Type::INT8),
        (&after, Type::INT8),
        (&after_id, Type::UUID),
        (&limit, Type::INT8),
    ];
    let text = if filter.user.is_some() { READ_OF_USER } else { READ };
    client.query_typed(text, &wanted).await?.iter().map(read_row).collect()
}

fn read_row(found: &Row) -> Result<AuditRow, StoreError> {
    let id = |at| Ok::<_, StoreError>(row::get::<Option<Uuid>>(found, at)?.map(Uuid::into_bytes));
    Ok(AuditRow {
        user: row::get(found, 0)?,
        at_ms: row::number(found, 1)?,
        id: AuditId(row::get::<Uuid>(found, 2)?.into_bytes()),
        kind: row::get(found, 3)?,
        device: id(4)?.map(sync_core::id::DeviceId::from_bytes),
        space: id(5)?.map(sync_core::id::SpaceId::from_bytes),
        address: row::get(found, 6)?,
        request_id: row::get(found, 7)?,
        detail: row::get(found, 8)?,
    })
}
