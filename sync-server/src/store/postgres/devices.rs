//! People, their devices, and the sessions of those. Locks are taken in one order: the user, the device, its sessions.

use async_trait::async_trait;
use sync_core::id::{DeviceId, Hash};
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::StoreError;
use super::super::devices::{
    Begin, Begun, Cut, DEVICES_MAX, Device, DeviceStanding, Devices, KEPT_MS, NAMES_MAX, Rotation, SWEEP_MAX, Session,
    SessionId, Standing, TOMBSTONES_MAX, Whose, Why,
};
use super::PostgresStore;
use super::row::{self, uuid};
use super::session::{Parameter, Session as Client};

/// Other sign-ins of the user wait behind this, so that counting its devices means something.
const MEET: &str = "
    INSERT INTO users (user_id, display_name, created_ms, seen_ms) VALUES ($1, $2, $3, $3)
    ON CONFLICT (user_id) DO UPDATE SET
        display_name = coalesce(excluded.display_name, users.display_name), seen_ms = excluded.seen_ms";
/// And who revokes the device waits behind this: it ends the session that begins here, too.
const KNOWN: &str = "SELECT revoked_ms IS NOT NULL FROM devices WHERE user_id = $1 AND device_id = $2 FOR UPDATE";
const COUNT: &str =
    "SELECT count(*) FILTER (WHERE revoked_ms IS NULL), count(revoked_ms) FROM devices WHERE user_id = $1";
const SWEEP_SESSIONS: &str = "
    DELETE FROM sessions WHERE user_id = $1 AND session_id IN (
        SELECT session_id FROM sessions WHERE user_id = $1 AND coalesce(ended_ms, expires_ms) < $2 LIMIT $3)";
const SWEEP_TOMBSTONES: &str = "
    DELETE FROM devices WHERE user_id = $1 AND device_id IN (
        SELECT device_id FROM devices WHERE user_id = $1 AND revoked_ms < $2 LIMIT $3)";
const REGISTER: &str = "
    INSERT INTO devices (user_id, device_id, name, platform, app_version, public_key, created_ms, seen_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
    ON CONFLICT (user_id, device_id) DO UPDATE SET
        name = excluded.name, platform = excluded.platform, app_version = excluded.app_version,
        public_key = coalesce(excluded.public_key, devices.public_key), seen_ms = excluded.seen_ms";
const BEGIN_SESSION: &str = "
    INSERT INTO sessions (user_id, session_id, device_id, nonce, n, token_hash, begun_ms, rotated_ms, expires_ms)
    VALUES ($1, $2, $3, $4, 1, $5, $6, $6, $7)";
const SESSION: &str = "
    SELECT device_id, nonce, n, token_hash, rotated_ms, expires_ms, ended_ms, ended_why,
           (SELECT public_key FROM devices d WHERE d.user_id = s.user_id AND d.device_id = s.device_id)
    FROM sessions s WHERE user_id = $1 AND session_id = $2";
const ROTATE: &str = "
    UPDATE sessions SET n = $4, token_hash = $5, rotated_ms = $6, expires_ms = $7
    WHERE user_id = $1 AND session_id = $2 AND n = $3 AND ended_ms IS NULL RETURNING device_id";
/// A statement of its own: in one with the session's row it would take the locks in the other order. What a crash in between
/// leaves out, the next refresh says again.
const SEEN: &str = "
    UPDATE devices SET seen_ms = $3, app_version = coalesce($4, app_version) WHERE user_id = $1 AND device_id = $2";
const END_ALL: &str = "
    UPDATE sessions SET ended_ms = $2, ended_why = $3 WHERE user_id = $1 AND ended_ms IS NULL RETURNING device_id";
const END_OF: &str = "
    UPDATE sessions SET ended_ms = $2, ended_why = $3
    WHERE user_id = $1 AND device_id = $4 AND ended_ms IS NULL RETURNING device_id";
const END_ALL_BUT: &str = "
    UPDATE sessions SET ended_ms = $2, ended_why = $3
    WHERE user_id = $1 AND device_id <> $4 AND ended_ms IS NULL RETURNING device_id";
const END_ONE: &str = "
    UPDATE sessions SET ended_ms = $2, ended_why = $3
    WHERE user_id = $1 AND session_id = $4 AND ended_ms IS NULL RETURNING device_id";
const REVOKE: &str = "UPDATE devices SET revoked_ms = $3 WHERE user_id = $1 AND device_id = $2 AND revoked_ms IS NULL";
const IS_KNOWN: &str = "SELECT 1 FROM devices WHERE user_id = $1 AND device_id = $2";
const RENAME: &str = "UPDATE devices SET name = $3 WHERE user_id = $1 AND device_id = $2 AND revoked_ms IS NULL";
const DEVICES: &str = "
    SELECT device_id, name, platform, app_version, created_ms, seen_ms, EXISTS (
        SELECT 1 FROM sessions s
        WHERE s.user_id = d.user_id AND s.device_id = d.device_id AND s.ended_ms IS NULL AND s.expires_ms > $2)
    FROM devices d WHERE user_id = $1 AND revoked_ms IS NULL ORDER BY created_ms, device_id LIMIT $3";
const STANDING: &str = "
    SELECT (SELECT revoked_ms IS NOT NULL FROM devices WHERE user_id = $1 AND device_id = $2),
           $3::uuid IS NULL OR EXISTS (
               SELECT 1 FROM sessions
               WHERE user_id = $1 AND session_id = $3 AND device_id = $2 AND ended_ms IS NULL)";
const CUT_SINCE: &str = "
    SELECT ended_ms, user_id, device_id FROM sessions WHERE ended_ms >= $1
    UNION ALL
    SELECT revoked_ms, user_id, device_id FROM devices WHERE revoked_ms >= $1
    ORDER BY 1 DESC LIMIT $2";
const NAMES: &str = "SELECT user_id, display_name FROM users WHERE user_id = ANY($1) AND display_name IS NOT NULL";

#[async_trait]
impl Devices for PostgresStore {
    async fn begin(&self, begin: Begin) -> Result<Begun, StoreError> {
        self.primary.with(async |client| self::begin(client, self.primary.begin(), &begin).await).await
    }

    async fn session(&self, user: &str, session: SessionId) -> Result<Option<Session>, StoreError> {
        let wanted: [Parameter<'_>; 2] = [(&user, Type::TEXT), (&uuid(session.as_bytes()), Type::UUID)];
        self.primary
            .with(async |client| client.query_typed(SESSION, &wanted).await?.first().map(read).transpose())
            .await
    }

    async fn rotate(&self, user: &str, session: SessionId, rotation: Rotation) -> Result<bool, StoreError> {
        self.primary.with(async |client| rotate(client, user, session, &rotation).await).await
    }

    async fn end(&self, user: &str, whose: Whose, why: Why, now_ms: u64) -> Result<Vec<DeviceId>, StoreError> {
        self.primary.with(async |client| end(client, user, whose, why, now_ms as i64).await).await
    }

    async fn revoke(&self, user: &str, device: DeviceId, now_ms: u64) -> Result<Option<bool>, StoreError> {
        let begin = self.primary.begin();
        self.primary.with(async |client| revoke(client, begin, user, device, now_ms as i64).await).await
    }

    async fn rename(&self, user: &str, device: DeviceId, name: &str) -> Result<bool, StoreError> {
        let values: [Parameter<'_>; 3] =
            [(&user, Type::TEXT), (&uuid(device.as_bytes()), Type::UUID), (&name, Type::TEXT)];
        self.primary.with(async |client| Ok(client.execute_typed(RENAME, &values).await? == 1)).await
    }

    async fn devices(&self, user: &str, now_ms: u64) -> Result<Vec<Device>, StoreError> {
        let (now, max) = (now_ms as i64, i64::from(DEVICES_MAX));
        let wanted: [Parameter<'_>; 3] = [(&user, Type::TEXT), (&now, Type::INT8), (&max, Type::INT8)];
        self.primary.with(async |client| client.query_typed(DEVICES, &wanted).await?.iter().map(device).collect()).await
    }

    async fn standing(&self, user: &str, device: DeviceId, session: Option<SessionId>) -> Result<Standing, StoreError> {
        let session = session.map(|session| uuid(session.as_bytes()));
        let wanted: [Parameter<'_>; 3] =
            [(&user, Type::TEXT), (&uuid(device.as_bytes()), Type::UUID), (&session, Type::UUID)];
        self.primary
            .with(async |client| {
                let found = client.query_typed(STANDING, &wanted).await?;
                let found = found.first().ok_or_else(|| row::corrupt("standing"))?;
                let standing = |revoked| if revoked { DeviceStanding::Revoked } else { DeviceStanding::Registered };
                let device = row::get::<Option<bool>>(found, 0)?.map(standing);
                Ok(Standing { device, session_goes_on: row::get(found, 1)? })
            })
            .await
    }

    async fn cut_since(&self, since_ms: u64, max: u32) -> Result<Vec<Cut>, StoreError> {
        let (since, max) = (since_ms as i64, i64::from(max));
        let wanted: [Parameter<'_>; 2] = [(&since, Type::INT8), (&max, Type::INT8)];
        let cut = |found: &Row| {
            Ok(Cut { at_ms: row::number(found, 0)?, user: row::get(found, 1)?, device: row::device(found, 2)? })
        };
        self.primary.with(async |client| client.query_typed(CUT_SINCE, &wanted).await?.iter().map(cut).collect()).await
    }

    async fn names(&self, users: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        let users = &users[..users.len().min(NAMES_MAX)];
        let name = |found: &Row| Ok((row::get(found, 0)?, row::get(found, 1)?));
        self.primary
            .with(async |client| {
                client.query_typed(NAMES, &[(&users, Type::TEXT_ARRAY)]).await?.iter().map(name).collect()
            })
            .await
    }
}

/// Two round trips: the locks and what they guard, then what follows from it.
async fn begin(client: &Client, open: &str, begin: &Begin) -> Result<Begun, StoreError> {
    let Begin { user, display_name, description, .. } = begin;
    let (device, session) = (uuid(begin.device.as_bytes()), uuid(begin.session.as_bytes()));
    let (now, expires) = (begin.now_ms as i64, begin.expires_ms as i64);
    let (before, few) = (now.saturating_sub(KEPT_MS as i64), i64::from(SWEEP_MAX));
    let meet: [Parameter<'_>; 3] = [(user, Type::TEXT), (display_name, Type::TEXT), (&now, Type::INT8)];
    let of_device: [Parameter<'_>; 2] = [(user, Type::TEXT), (&device, Type::UUID)];
    let old: [Parameter<'_>; 3] = [(user, Type::TEXT), (&before, Type::INT8), (&few, Type::INT8)];
    let ((), _, _, _, known, counts) = try_join!(
        biased;
        client.batch_execute(open),
        client.execute_typed(MEET, &meet),
        client.execute_typed(SWEEP_SESSIONS, &old),
        client.execute_typed(SWEEP_TOMBSTONES, &old),
        client.query_typed(KNOWN, &of_device),
        client.query_typed(COUNT, &of_device[..1]),
    )?;
    let counts = counts.first().ok_or_else(|| row::corrupt("count of devices"))?;
    let has_room =
        row::number(counts, 0)? < u64::from(DEVICES_MAX) && row::number(counts, 1)? < u64::from(TOMBSTONES_MAX);
    let known = known.first().map(|known| row::get::<bool>(known, 0)).transpose()?;
    let refused = match (known, begin.is_new) {
        (None, true) if !has_room => Some(Begun::TooMany),
        (None, true) | (Some(false), _) => None,
        (None, false) => Some(Begun::Unknown),
        (Some(true), _) => Some(Begun::Revoked),
    };
    if let Some(refused) = refused {
        client.batch_execute("ROLLBACK").await?;
        return Ok(refused);
    }
    let key = description.public_key.as_ref().map(<[u8; 32]>::as_slice);
    let register: [Parameter<'_>; 7] = [
        (user, Type::TEXT),
        (&device, Type::UUID),
        (&description.name, Type::TEXT),
        (&description.platform, Type::TEXT),
        (&description.app_version, Type::TEXT),
        (&key, Type::BYTEA),
        (&now, Type::INT8),
    ];
    let replaced = Why::Replaced as i16;
    let replace: [Parameter<'_>; 4] =
        [(user, Type::TEXT), (&now, Type::INT8), (&replaced, Type::INT2), (&device, Type::UUID)];
    let (nonce, hash) = (begin.nonce.as_slice(), begin.token_hash.0.as_slice());
    let insert: [Parameter<'_>; 7] = [
        (user, Type::TEXT),
        (&session, Type::UUID),
        (&device, Type::UUID),
        (&nonce, Type::BYTEA),
        (&hash, Type::BYTEA),
        (&now, Type::INT8),
        (&expires, Type::INT8),
    ];
    try_join!(
        biased;
        client.execute_typed(REGISTER, &register),
        client.execute_typed(END_OF, &replace),
        client.execute_typed(BEGIN_SESSION, &insert),
        client.batch_execute("COMMIT"),
    )?;
    Ok(Begun::Done)
}

fn read(found: &Row) -> Result<Session, StoreError> {
    let nonce = row::get::<&[u8]>(found, 1)?.try_into().map_err(|_| row::corrupt("nonce"))?;
    let ended = match row::get::<Option<i64>>(found, 6)? {
        Some(_) => {
            let why = u8::try_from(row::get::<i16>(found, 7)?).ok().and_then(Why::from_number);
            Some(why.ok_or_else(|| row::corrupt("end of a session"))?)
        }
        None => None,
    };
    let key = row::get::<Option<&[u8]>>(found, 8)?;
    Ok(Session {
        device: row::device(found, 0)?,
        nonce,
        n: row::number(found, 2)?,
        token_hash: row::hash(found, 3)?,
        rotated_ms: row::number(found, 4)?,
        expires_ms: row::number(found, 5)?,
        ended,
        public_key: key.map(|key| key.try_into().map_err(|_| row::corrupt("public key"))).transpose()?,
    })
}

async fn rotate(client: &Client, user: &str, session: SessionId, rotation: &Rotation) -> Result<bool, StoreError> {
    let Rotation { from_n, n, token_hash: Hash(hash), now_ms, expires_ms, app_version } = rotation;
    let (from_n, n, now, expires) = (*from_n as i64, *n as i64, *now_ms as i64, *expires_ms as i64);
    let (session, hash) = (uuid(session.as_bytes()), hash.as_slice());
    let values: [Parameter<'_>; 7] = [
        (&user, Type::TEXT),
        (&session, Type::UUID),
        (&from_n, Type::INT8),
        (&n, Type::INT8),
        (&hash, Type::BYTEA),
        (&now, Type::INT8),
        (&expires, Type::INT8),
    ];
    let rotated = client.query_typed(ROTATE, &values).await?;
    let Some(rotated) = rotated.first() else { return Ok(false) };
    let device = uuid(row::device(rotated, 0)?.as_bytes());
    let seen: [Parameter<'_>; 4] =
        [(&user, Type::TEXT), (&device, Type::UUID), (&now, Type::INT8), (app_version, Type::TEXT)];
    client.execute_typed(SEEN, &seen).await?;
    Ok(true)
}

async fn end(client: &Client, user: &str, whose: Whose, why: Why, now: i64) -> Result<Vec<DeviceId>, StoreError> {
    let (end, of) = match &whose {
        Whose::All => (END_ALL, None),
        Whose::Of(device) => (END_OF, Some(uuid(device.as_bytes()))),
        Whose::AllBut(device) => (END_ALL_BUT, Some(uuid(device.as_bytes()))),
        Whose::One(session) => (END_ONE, Some(uuid(session.as_bytes()))),
    };
    let why = why as i16;
    let values: [Parameter<'_>; 4] = [(&user, Type::TEXT), (&now, Type::INT8), (&why, Type::INT2), (&of, Type::UUID)];
    let used = if of.is_some() { 4 } else { 3 };
    let ended = client.query_typed(end, &values[..used]).await?;
    ended.iter().map(|ended| row::device(ended, 0)).collect()
}

/// The sessions go second, with a look of their own: one that began while the device's row was waited for has to end, too.
async fn revoke(
    client: &Client,
    open: &str,
    user: &str,
    device: DeviceId,
    now: i64,
) -> Result<Option<bool>, StoreError> {
    let (device, why) = (uuid(device.as_bytes()), Why::Revoked as i16);
    let values: [Parameter<'_>; 3] = [(&user, Type::TEXT), (&device, Type::UUID), (&now, Type::INT8)];
    let ending: [Parameter<'_>; 4] =
        [(&user, Type::TEXT), (&now, Type::INT8), (&why, Type::INT2), (&device, Type::UUID)];
    let ((), revoked, known, _, ()) = try_join!(
        biased;
        client.batch_execute(open),
        client.execute_typed(REVOKE, &values),
        client.query_typed(IS_KNOWN, &values[..2]),
        client.execute_typed(END_OF, &ending),
        client.batch_execute("COMMIT"),
    )?;
    Ok((!known.is_empty()).then_some(revoked == 1))
}

fn device(found: &Row) -> Result<Device, StoreError> {
    Ok(Device {
        device: row::device(found, 0)?,
        name: row::get(found, 1)?,
        platform: row::get(found, 2)?,
        app_version: row::get(found, 3)?,
        created_ms: row::number(found, 4)?,
        seen_ms: row::number(found, 5)?,
        signed_in: row::get(found, 6)?,
    })
}
