//! People, their devices, and the sessions of those.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use sync_core::id::{DeviceId, Hash};

use super::super::StoreError;
use super::super::devices::{
    Begin, Begun, Cut, DEVICES_MAX, Device, DeviceStanding, Devices, KEPT_MS, NAMES_MAX, Rotation, SWEEP_MAX, Session,
    SessionId, Standing, TOMBSTONES_MAX, Whose, Why,
};
use super::{SqliteStore, row};

#[async_trait]
impl Devices for SqliteStore {
    async fn begin(&self, begin: Begin) -> Result<Begun, StoreError> {
        self.write(move |connection| self::begin(connection, &begin)).await
    }

    async fn session(&self, user: &str, session: SessionId) -> Result<Option<Session>, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| self::session(connection, &user, session)).await
    }

    async fn rotate(&self, user: &str, session: SessionId, rotation: Rotation) -> Result<bool, StoreError> {
        let user = user.to_owned();
        self.write(move |connection| rotate(connection, &user, session, &rotation)).await
    }

    async fn end(&self, user: &str, whose: Whose, why: Why, now_ms: u64) -> Result<Vec<DeviceId>, StoreError> {
        let user = user.to_owned();
        self.write(move |connection| end(connection, &user, whose, why, now_ms as i64)).await
    }

    async fn revoke(&self, user: &str, device: DeviceId, now_ms: u64) -> Result<Option<bool>, StoreError> {
        let user = user.to_owned();
        self.write(move |connection| revoke(connection, &user, device, now_ms as i64)).await
    }

    async fn rename(&self, user: &str, device: DeviceId, name: &str) -> Result<bool, StoreError> {
        let (user, name) = (user.to_owned(), name.to_owned());
        self.write(move |connection| {
            let update = "UPDATE devices SET name = ?3 WHERE user_id = ?1 AND device_id = ?2 AND revoked_ms IS NULL";
            let renamed = connection.prepare_cached(update)?.execute(params![user, device.as_bytes(), name])?;
            Ok(renamed == 1)
        })
        .await
    }

    async fn devices(&self, user: &str, now_ms: u64) -> Result<Vec<Device>, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| devices(connection, &user, now_ms as i64)).await
    }

    async fn standing(&self, user: &str, device: DeviceId, session: Option<SessionId>) -> Result<Standing, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| standing(connection, &user, device, session)).await
    }

    async fn cut_since(&self, since_ms: u64, max: u32) -> Result<Vec<Cut>, StoreError> {
        self.read(move |connection| cut_since(connection, since_ms as i64, max)).await
    }

    async fn names(&self, users: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        let users = users.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>();
        self.read(move |connection| names(connection, users)).await
    }
}

fn immediate(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

fn begin(connection: &mut Connection, begin: &Begin) -> Result<Begun, StoreError> {
    let transaction = immediate(connection)?;
    let Begin { user, device, description, .. } = begin;
    let now = begin.now_ms as i64;
    sweep(&transaction, user, now)?;
    let known = "SELECT revoked_ms IS NOT NULL FROM devices WHERE user_id = ?1 AND device_id = ?2";
    let known = transaction.prepare_cached(known)?.query_row(params![user, device.as_bytes()], |row| row.get(0));
    match (known.optional()?, begin.is_new) {
        (None, true) if !has_room(&transaction, user)? => return Ok(Begun::TooMany),
        (None, true) | (Some(false), _) => {}
        (None, false) => return Ok(Begun::Unknown),
        (Some(true), _) => return Ok(Begun::Revoked),
    }
    let upsert = "INSERT INTO users (user_id, display_name, created_ms, seen_ms) VALUES (?1, ?2, ?3, ?3)
                  ON CONFLICT (user_id) DO UPDATE SET
                      display_name = coalesce(excluded.display_name, display_name), seen_ms = excluded.seen_ms";
    transaction.prepare_cached(upsert)?.execute(params![user, begin.display_name, now])?;
    let upsert =
        "INSERT INTO devices (user_id, device_id, name, platform, app_version, public_key, created_ms, seen_ms)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
                  ON CONFLICT (user_id, device_id) DO UPDATE SET
                      name = excluded.name, platform = excluded.platform, app_version = excluded.app_version,
                      public_key = coalesce(excluded.public_key, public_key), seen_ms = excluded.seen_ms";
    transaction.prepare_cached(upsert)?.execute(params![
        user,
        device.as_bytes(),
        description.name,
        description.platform,
        description.app_version,
        description.public_key,
        now
    ])?;
    let replace = "UPDATE sessions SET ended_ms = ?3, ended_why = ?4
                   WHERE user_id = ?1 AND device_id = ?2 AND ended_ms IS NULL";
    let values = params![user, device.as_bytes(), now, Why::Replaced as u8];
    transaction.prepare_cached(replace)?.execute(values)?;
    let insert =
        "INSERT INTO sessions (user_id, session_id, device_id, nonce, n, token_hash, begun_ms, rotated_ms, expires_ms)
                  VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?6, ?7)";
    transaction.prepare_cached(insert)?.execute(params![
        user,
        begin.session.as_bytes(),
        device.as_bytes(),
        begin.nonce,
        begin.token_hash.0,
        now,
        begin.expires_ms as i64
    ])?;
    transaction.commit()?;
    Ok(Begun::Done)
}

/// Forgets a few of the user's rows that are long past.
fn sweep(connection: &Connection, user: &str, now: i64) -> Result<(), StoreError> {
    let values = params![user, now.saturating_sub(KEPT_MS as i64), SWEEP_MAX];
    let sessions = "DELETE FROM sessions WHERE user_id = ?1 AND session_id IN
                    (SELECT session_id FROM sessions
                     WHERE user_id = ?1 AND coalesce(ended_ms, expires_ms) < ?2 LIMIT ?3)";
    connection.prepare_cached(sessions)?.execute(values)?;
    let tombstones = "DELETE FROM devices WHERE user_id = ?1 AND device_id IN
                      (SELECT device_id FROM devices WHERE user_id = ?1 AND revoked_ms < ?2 LIMIT ?3)";
    connection.prepare_cached(tombstones)?.execute(values)?;
    Ok(())
}

fn has_room(connection: &Connection, user: &str) -> Result<bool, StoreError> {
    let count = "SELECT count(*) FILTER (WHERE revoked_ms IS NULL), count(revoked_ms) FROM devices WHERE user_id = ?1";
    let counts = connection.prepare_cached(count)?.query_row([user], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (devices, tombstones): (u32, u32) = counts;
    Ok(devices < DEVICES_MAX && tombstones < TOMBSTONES_MAX)
}

fn session(connection: &Connection, user: &str, session: SessionId) -> Result<Option<Session>, StoreError> {
    let select = "SELECT device_id, nonce, n, token_hash, rotated_ms, expires_ms, ended_ms, ended_why,
                      (SELECT public_key FROM devices d WHERE d.user_id = s.user_id AND d.device_id = s.device_id)
                  FROM sessions s WHERE user_id = ?1 AND session_id = ?2";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query(params![user, session.as_bytes()])?;
    rows.next()?.map(read).transpose()
}

fn read(found: &Row<'_>) -> Result<Session, StoreError> {
    let why = || Why::from_number(found.get(7)?).ok_or_else(|| row::corrupt("end of a session"));
    let ended = found.get::<_, Option<i64>>(6)?.map(|_| why()).transpose()?;
    Ok(Session {
        device: row::device(found, 0)?,
        nonce: found.get(1)?,
        n: row::number(found, 2)?,
        token_hash: row::hash(found, 3)?,
        rotated_ms: row::number(found, 4)?,
        expires_ms: row::number(found, 5)?,
        ended,
        public_key: found.get(8)?,
    })
}

fn rotate(
    connection: &mut Connection,
    user: &str,
    session: SessionId,
    rotation: &Rotation,
) -> Result<bool, StoreError> {
    let transaction = immediate(connection)?;
    let Rotation { from_n, n, token_hash: Hash(hash), now_ms, expires_ms, app_version } = rotation;
    let update = "UPDATE sessions SET n = ?4, token_hash = ?5, rotated_ms = ?6, expires_ms = ?7
                  WHERE user_id = ?1 AND session_id = ?2 AND n = ?3 AND ended_ms IS NULL";
    let (now, expires) = (*now_ms as i64, *expires_ms as i64);
    let values = params![user, session.as_bytes(), *from_n as i64, *n as i64, hash, now, expires];
    if transaction.prepare_cached(update)?.execute(values)? == 0 {
        return Ok(false);
    }
    let seen = "UPDATE devices SET seen_ms = ?3, app_version = coalesce(?4, app_version)
                WHERE user_id = ?1
                  AND device_id = (SELECT device_id FROM sessions WHERE user_id = ?1 AND session_id = ?2)";
    transaction.prepare_cached(seen)?.execute(params![user, session.as_bytes(), now, app_version])?;
    transaction.commit()?;
    Ok(true)
}

fn end(connection: &mut Connection, user: &str, whose: Whose, why: Why, now: i64) -> Result<Vec<DeviceId>, StoreError> {
    const ALL: &str = "UPDATE sessions SET ended_ms = ?3, ended_why = ?4
                       WHERE user_id = ?1 AND ?2 IS NULL AND ended_ms IS NULL RETURNING device_id";
    const OF: &str = "UPDATE sessions SET ended_ms = ?3, ended_why = ?4
                      WHERE user_id = ?1 AND device_id = ?2 AND ended_ms IS NULL RETURNING device_id";
    const ALL_BUT: &str = "UPDATE sessions SET ended_ms = ?3, ended_why = ?4
                           WHERE user_id = ?1 AND device_id <> ?2 AND ended_ms IS NULL RETURNING device_id";
    const ONE: &str = "UPDATE sessions SET ended_ms = ?3, ended_why = ?4
                       WHERE user_id = ?1 AND session_id = ?2 AND ended_ms IS NULL RETURNING device_id";
    let (update, of) = match &whose {
        Whose::All => (ALL, None),
        Whose::Of(device) => (OF, Some(device.as_bytes())),
        Whose::AllBut(device) => (ALL_BUT, Some(device.as_bytes())),
        Whose::One(session) => (ONE, Some(session.as_bytes())),
    };
    let mut statement = connection.prepare_cached(update)?;
    let mut rows = statement.query(params![user, of, now, why as u8])?;
    let mut devices = Vec::new();
    while let Some(found) = rows.next()? {
        devices.push(row::device(found, 0)?);
    }
    Ok(devices)
}

fn revoke(connection: &mut Connection, user: &str, device: DeviceId, now: i64) -> Result<Option<bool>, StoreError> {
    let transaction = immediate(connection)?;
    let update = "UPDATE devices SET revoked_ms = ?3 WHERE user_id = ?1 AND device_id = ?2 AND revoked_ms IS NULL";
    let revoked = transaction.prepare_cached(update)?.execute(params![user, device.as_bytes(), now])? == 1;
    if !revoked {
        let known = "SELECT 1 FROM devices WHERE user_id = ?1 AND device_id = ?2";
        let known = transaction.prepare_cached(known)?.exists(params![user, device.as_bytes()])?;
        return Ok(known.then_some(false));
    }
    let end = "UPDATE sessions SET ended_ms = ?3, ended_why = ?4
               WHERE user_id = ?1 AND device_id = ?2 AND ended_ms IS NULL";
    transaction.prepare_cached(end)?.execute(params![user, device.as_bytes(), now, Why::Revoked as u8])?;
    transaction.commit()?;
    Ok(Some(true))
}

fn devices(connection: &Connection, user: &str, now: i64) -> Result<Vec<Device>, StoreError> {
    let select = "SELECT device_id, name, platform, app_version, created_ms, seen_ms,
                      EXISTS (SELECT 1 FROM sessions s
                              WHERE s.user_id = d.user_id AND s.device_id = d.device_id
                                AND s.ended_ms IS NULL AND s.expires_ms > ?2)
                  FROM devices d WHERE user_id = ?1 AND revoked_ms IS NULL ORDER BY created_ms, device_id LIMIT ?3";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query(params![user, now, DEVICES_MAX])?;
    let mut devices = Vec::new();
    while let Some(found) = rows.next()? {
        devices.push(Device {
            device: row::device(found, 0)?,
            name: found.get(1)?,
            platform: found.get(2)?,
            app_version: found.get(3)?,
            created_ms: row::number(found, 4)?,
            seen_ms: row::number(found, 5)?,
            signed_in: found.get(6)?,
        });
    }
    Ok(devices)
}

fn standing(
    connection: &Connection,
    user: &str,
    device: DeviceId,
    session: Option<SessionId>,
) -> Result<Standing, StoreError> {
    let select = "SELECT (SELECT revoked_ms IS NOT NULL FROM devices WHERE user_id = ?1 AND device_id = ?2),
                      ?3 IS NULL OR EXISTS (
                          SELECT 1 FROM sessions
                          WHERE user_id = ?1 AND session_id = ?3 AND device_id = ?2 AND ended_ms IS NULL)";
    let values = params![user, device.as_bytes(), session.as_ref().map(SessionId::as_bytes)];
    let found = connection.prepare_cached(select)?.query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (revoked, session_goes_on): (Option<bool>, bool) = found;
    let device = revoked.map(|revoked| if revoked { DeviceStanding::Revoked } else { DeviceStanding::Registered });
    Ok(Standing { device, session_goes_on })
}

fn cut_since(connection: &Connection, since: i64, max: u32) -> Result<Vec<Cut>, StoreError> {
    let select = "SELECT ended_ms, user_id, device_id FROM sessions WHERE ended_ms >= ?1
                  UNION ALL
                  SELECT revoked_ms, user_id, device_id FROM devices WHERE revoked_ms >= ?1
                  ORDER BY 1 DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query(params![since, max])?;
    let mut cuts = Vec::new();
    while let Some(found) = rows.next()? {
        cuts.push(Cut { at_ms: row::number(found, 0)?, user: found.get(1)?, device: row::device(found, 2)? });
    }
    Ok(cuts)
}

fn names(connection: &Connection, users: Vec<String>) -> Result<Vec<(String, String)>, StoreError> {
    let select = "SELECT display_name FROM users WHERE user_id = ?1 AND display_name IS NOT NULL";
    let mut statement = connection.prepare_cached(select)?;
    let mut names = Vec::new();
    for user in users {
        if let Some(name) = statement.query_row([&user], |row| row.get(0)).optional()? {
            names.push((user, name));
        }
    }
    Ok(names)
}
