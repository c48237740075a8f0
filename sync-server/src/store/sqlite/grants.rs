//! Grants: codes that are redeemed for a session, once.

use async_trait::async_trait;
use rusqlite::{Connection, Row, TransactionBehavior, params};
use sync_core::id::{DeviceId, Hash};

use super::super::StoreError;
use super::super::grants::{GRANT_KEPT_MS, GRANT_SWEEP_MAX, Grant, GrantKind, GrantRecord, GrantState, Grants};
use super::{SqliteStore, row};

#[async_trait]
impl Grants for SqliteStore {
    async fn add_grant(&self, id: Hash, grant: &Grant, now_ms: u64) -> Result<bool, StoreError> {
        let grant = grant.clone();
        self.write(move |connection| add(connection, id, &grant, now_ms)).await
    }

    async fn grant(&self, id: Hash) -> Result<Option<GrantRecord>, StoreError> {
        self.read(move |connection| one(connection, id)).await
    }

    async fn replace_grant(&self, id: Hash, was: u64, grant: &Grant) -> Result<bool, StoreError> {
        let grant = grant.clone();
        self.write(move |connection| replace(connection, id, was, &grant)).await
    }
}

fn add(connection: &mut Connection, id: Hash, grant: &Grant, now_ms: u64) -> Result<bool, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sweep = "DELETE FROM grants WHERE grant_id IN
                 (SELECT grant_id FROM grants WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)";
    transaction.prepare_cached(sweep)?.execute(params![now_ms.saturating_sub(GRANT_KEPT_MS), GRANT_SWEEP_MAX])?;
    let Grant { kind, state, client, user, display_name, device, expires_ms } = grant;
    let (number, redirect_uri, challenge, secret, interval_s, asked_ms) = match kind {
        GrantKind::Code { redirect_uri, challenge } => (1, Some(redirect_uri), Some(challenge), None, 0, 0),
        GrantKind::Device { secret, interval_s, asked_ms } => (2, None, None, Some(secret.0), *interval_s, *asked_ms),
    };
    let insert = "INSERT INTO grants (grant_id, version, kind, state, client_id, user_id, display_name, redirect_uri,
                      challenge, secret_hash, interval_s, asked_ms, device_id, expires_ms)
                  VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (grant_id) DO NOTHING";
    let values = params![
        id.0,
        number,
        *state as i64,
        client,
        user,
        display_name,
        redirect_uri,
        challenge,
        secret,
        interval_s,
        asked_ms,
        device.map(|device| *device.as_bytes()),
        expires_ms
    ];
    let added = transaction.prepare_cached(insert)?.execute(values)? == 1;
    transaction.commit()?;
    Ok(added)
}

fn one(connection: &Connection, id: Hash) -> Result<Option<GrantRecord>, StoreError> {
    let select = "SELECT version, kind, state, client_id, user_id, display_name, redirect_uri, challenge, secret_hash,
                      interval_s, asked_ms, device_id, expires_ms FROM grants WHERE grant_id = ?1";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query([id.0])?;
    rows.next()?.map(read).transpose()
}

fn read(found: &Row<'_>) -> Result<GrantRecord, StoreError> {
    let kind = match found.get(1)? {
        1 => GrantKind::Code { redirect_uri: found.get(6)?, challenge: found.get(7)? },
        2 => GrantKind::Device {
            secret: row::hash(found, 8)?,
            interval_s: found.get(9)?,
            asked_ms: row::number(found, 10)?,
        },
        _ => return Err(row::corrupt("kind")),
    };
    let device = found.get::<_, Option<[u8; 16]>>(11)?.map(DeviceId::from_bytes);
    let grant = Grant {
        kind,
        state: GrantState::from_number(found.get(2)?).ok_or_else(|| row::corrupt("state"))?,
        client: found.get(3)?,
        user: found.get(4)?,
        display_name: found.get(5)?,
        device,
        expires_ms: row::number(found, 12)?,
    };
    Ok(GrantRecord { version: row::number(found, 0)?, grant })
}

fn replace(connection: &Connection, id: Hash, was: u64, grant: &Grant) -> Result<bool, StoreError> {
    let (interval_s, asked_ms) = match grant.kind {
        GrantKind::Code { .. } => (0, 0),
        GrantKind::Device { interval_s, asked_ms, .. } => (interval_s, asked_ms),
    };
    let update =
        "UPDATE grants SET version = version + 1, state = ?3, user_id = ?4, display_name = ?5, interval_s = ?6,
                      asked_ms = ?7, device_id = ?8
                  WHERE grant_id = ?1 AND version = ?2";
    let values = params![
        id.0,
        was,
        grant.state as i64,
        grant.user,
        grant.display_name,
        interval_s,
        asked_ms,
        grant.device.map(|device| *device.as_bytes())
    ];
    Ok(connection.prepare_cached(update)?.execute(values)? == 1)
}
