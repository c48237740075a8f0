//! Idempotency keys: who works on what, and what was answered. Times are of the database's clock.

use std::time::Duration;

use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::StoreError;
use super::super::idempotency::{Claim, ClaimToken, EXPIRED_SWEEP_MAX, KeptAnswer, NewClaim, RequestKey};
use super::row;
use super::session::Session;

/// Others that sweep at the same time take other rows.
const SWEEP: &str = "
    DELETE FROM idempotency WHERE (user_id, route, key_id) IN (
        SELECT user_id, route, key_id FROM idempotency WHERE expires_at <= now()
        ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)";
/// Takes the key where nobody has it, or whoever had it is past its time.
const CLAIM: &str = "
    INSERT INTO idempotency (user_id, route, key_id, hash, token, expires_at)
    VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 millisecond')
    ON CONFLICT (user_id, route, key_id) DO UPDATE SET
        hash = excluded.hash, token = excluded.token, expires_at = excluded.expires_at,
        status = NULL, content_type = NULL, body = NULL
    WHERE idempotency.expires_at <= now()";
const KNOWN: &str = "
    SELECT token, hash, status, content_type, body FROM idempotency
    WHERE user_id = $1 AND route = $2 AND key_id = $3";
const SETTLE: &str = "
    UPDATE idempotency SET expires_at = now() + $5 * interval '1 millisecond', status = $6, content_type = $7, body = $8
    WHERE user_id = $1 AND route = $2 AND key_id = $3 AND token = $4 AND status IS NULL";
const RELEASE: &str = "
    DELETE FROM idempotency
    WHERE user_id = $1 AND route = $2 AND key_id = $3 AND token = $4 AND status IS NULL";

fn millis(time: Duration) -> f64 {
    time.as_millis() as f64
}

/// One round trip: whoever finds its own token afterwards has the claim, and nobody takes it away within its lease.
pub(super) async fn claim(client: &Session, claim: &NewClaim) -> Result<Claim, StoreError> {
    let RequestKey { user, route, key } = &claim.of;
    let (hash, token, lease) = (claim.hash.0.as_slice(), claim.token.0.as_slice(), millis(claim.lease));
    let wanted: [(&(dyn ToSql + Sync), Type); 6] = [
        (user, Type::TEXT),
        (route, Type::TEXT),
        (key, Type::TEXT),
        (&hash, Type::BYTEA),
        (&token, Type::BYTEA),
        (&lease, Type::FLOAT8),
    ];
    let swept_max = i64::from(EXPIRED_SWEEP_MAX);
    let sweep: [(&(dyn ToSql + Sync), Type); 1] = [(&swept_max, Type::INT8)];
    let (_, known, _) = try_join!(
        biased;
        client.execute_typed(CLAIM, &wanted),
        client.query_typed(KNOWN, &wanted[..3]),
        client.execute_typed(SWEEP, &sweep),
    )?;
    // Given up between the two: whoever asks again gets it.
    known.first().map_or(Ok(Claim::InFlight), |known| read(known, claim))
}

fn read(known: &Row, claim: &NewClaim) -> Result<Claim, StoreError> {
    if row::hash(known, 1)? != claim.hash {
        return Ok(Claim::Mismatch);
    }
    let Some(status) = row::get::<Option<i32>>(known, 2)? else {
        let own = row::get::<&[u8]>(known, 0)? == claim.token.0;
        return Ok(if own { Claim::Fresh } else { Claim::InFlight });
    };
    let status = u16::try_from(status).map_err(|_| row::corrupt("status"))?;
    Ok(Claim::Done(KeptAnswer { status, content_type: row::get(known, 3)?, body: row::get(known, 4)? }))
}

/// An answer that comes after the lease finds another token, or none, and changes nothing.
pub(super) async fn settle(
    client: &Session,
    of: &RequestKey,
    token: ClaimToken,
    answer: &KeptAnswer,
    kept: Duration,
) -> Result<bool, StoreError> {
    let (token, kept, status) = (token.0.as_slice(), millis(kept), i32::from(answer.status));
    let wanted: [(&(dyn ToSql + Sync), Type); 8] = [
        (&of.user, Type::TEXT),
        (&of.route, Type::TEXT),
        (&of.key, Type::TEXT),
        (&token, Type::BYTEA),
        (&kept, Type::FLOAT8),
        (&status, Type::INT4),
        (&answer.content_type, Type::TEXT),
        (&answer.body, Type::BYTEA),
    ];
    Ok(client.execute_typed(SETTLE, &wanted).await? == 1)
}

pub(super) async fn release(client: &Session, of: &RequestKey, token: ClaimToken) -> Result<(), StoreError> {
    let token = token.0.as_slice();
    let wanted: [(&(dyn ToSql + Sync), Type); 4] =
        [(&of.user, Type::TEXT), (&of.route, Type::TEXT), (&of.key, Type::TEXT), (&token, Type::BYTEA)];
    client.execute_typed(RELEASE, &wanted).await?;
    Ok(())
}
