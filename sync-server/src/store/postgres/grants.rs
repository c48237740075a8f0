//! Grants: codes that are redeemed for a session, once.

use async_trait::async_trait;
use sync_core::id::{DeviceId, Hash};
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::super::StoreError;
use super::super::grants::{GRANT_KEPT_MS, GRANT_SWEEP_MAX, Grant, GrantKind, GrantRecord, GrantState, Grants};
use super::session::Session;
use super::{PostgresStore, row};

/// Others that sweep at the same time take other rows.
const SWEEP: &str = "
    DELETE FROM grants WHERE grant_id IN (
        SELECT grant_id FROM grants WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2 FOR UPDATE SKIP LOCKED)";
const ADD: &str = "
    INSERT INTO grants (grant_id, version, kind, state, client_id, user_id, display_name, redirect_uri, challenge,
        secret_hash, interval_s, asked_ms, device_id, expires_ms)
    VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (grant_id) DO NOTHING";
const ONE: &str = "
    SELECT version, kind, state, client_id, user_id, display_name, redirect_uri, challenge, secret_hash, interval_s,
        asked_ms, device_id, expires_ms
    FROM grants WHERE grant_id = $1";
const REPLACE: &str = "
    UPDATE grants SET version = version + 1, state = $3, user_id = $4, display_name = $5, interval_s = $6, asked_ms = $7,
        device_id = $8
    WHERE grant_id = $1 AND version = $2";

#[async_trait]
impl Grants for PostgresStore {
    async fn add_grant(&self, id: Hash, grant: &Grant, now_ms: u64) -> Result<bool, StoreError> {
        let Grant { kind, state, client, user, display_name, device, expires_ms } = grant;
        let (number, redirect_uri, challenge, secret) = match kind {
            GrantKind::Code { redirect_uri, challenge } => (1_i16, Some(redirect_uri), Some(challenge), None),
            GrantKind::Device { secret, .. } => (2, None, None, Some(secret.0.as_slice())),
        };
        let (id, state, (interval_s, asked_ms)) = (id.0.as_slice(), *state as i16, pace(kind));
        let (device, expires_ms) = (uuid(*device), *expires_ms as i64);
        let values: [(&(dyn ToSql + Sync), Type); 13] = [
            (&id, Type::BYTEA),
            (&number, Type::INT2),
            (&state, Type::INT2),
            (client, Type::TEXT),
            (user, Type::TEXT),
            (display_name, Type::TEXT),
            (&redirect_uri, Type::TEXT),
            (&challenge, Type::TEXT),
            (&secret, Type::BYTEA),
            (&interval_s, Type::INT8),
            (&asked_ms, Type::INT8),
            (&device, Type::UUID),
            (&expires_ms, Type::INT8),
        ];
        let (swept_ms, swept_max) = (now_ms.saturating_sub(GRANT_KEPT_MS) as i64, i64::from(GRANT_SWEEP_MAX));
        let sweep: [(&(dyn ToSql + Sync), Type); 2] = [(&swept_ms, Type::INT8), (&swept_max, Type::INT8)];
        let added = self.primary.with(async |client| {
            let (_, added) =
                try_join!(biased; client.execute_typed(SWEEP, &sweep), client.execute_typed(ADD, &values))?;
            Ok(added)
        });
        Ok(added.await? == 1)
    }

    async fn grant(&self, id: Hash) -> Result<Option<GrantRecord>, StoreError> {
        let id = id.0.as_slice();
        let found = async |client: &Session| Ok(client.query_typed(ONE, &[(&id, Type::BYTEA)]).await?);
        self.primary.with(found).await?.first().map(read).transpose()
    }

    async fn replace_grant(&self, id: Hash, was: u64, grant: &Grant) -> Result<bool, StoreError> {
        let (id, was, state, (interval_s, asked_ms)) =
            (id.0.as_slice(), was as i64, grant.state as i16, pace(&grant.kind));
        let device = uuid(grant.device);
        let values: [(&(dyn ToSql + Sync), Type); 8] = [
            (&id, Type::BYTEA),
            (&was, Type::INT8),
            (&state, Type::INT2),
            (&grant.user, Type::TEXT),
            (&grant.display_name, Type::TEXT),
            (&interval_s, Type::INT8),
            (&asked_ms, Type::INT8),
            (&device, Type::UUID),
        ];
        self.primary.with(async |client| Ok(client.execute_typed(REPLACE, &values).await? == 1)).await
    }
}

fn uuid(device: Option<DeviceId>) -> Option<Uuid> {
    device.map(|device| row::uuid(device.as_bytes()))
}

fn pace(kind: &GrantKind) -> (i64, i64) {
    match kind {
        GrantKind::Code { .. } => (0, 0),
        GrantKind::Device { interval_s, asked_ms, .. } => (i64::from(*interval_s), *asked_ms as i64),
    }
}

fn read(found: &Row) -> Result<GrantRecord, StoreError> {
    let kind = match row::get::<i16>(found, 1)? {
        1 => GrantKind::Code { redirect_uri: row::get(found, 6)?, challenge: row::get(found, 7)? },
        2 => GrantKind::Device {
            secret: row::hash(found, 8)?,
            interval_s: u32::try_from(row::number(found, 9)?).map_err(|_| row::corrupt("interval"))?,
            asked_ms: row::number(found, 10)?,
        },
        _ => return Err(row::corrupt("kind")),
    };
    let state = GrantState::from_number(row::get::<i16>(found, 2)?.into());
    let grant = Grant {
        kind,
        state: state.ok_or_else(|| row::corrupt("state"))?,
        client: row::get(found, 3)?,
        user: row::get(found, 4)?,
        display_name: row::get(found, 5)?,
        device: row::get::<Option<Uuid>>(found, 11)?.map(|id| DeviceId::from_bytes(id.into_bytes())),
        expires_ms: row::number(found, 12)?,
    };
    Ok(GrantRecord { version: row::number(found, 0)?, grant })
}
