//! Idempotency keys: who works on what, and what was answered. Times are of the process' clock.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use sync_core::id::Hash;

use super::super::StoreError;
use super::super::idempotency::{Claim, ClaimToken, EXPIRED_SWEEP_MAX, KeptAnswer, NewClaim, RequestKey};
use super::{commit, row};

fn after(time: Duration) -> i64 {
    commit::now_ms().saturating_add(time.as_millis() as i64)
}

pub(super) fn claim(connection: &mut Connection, claim: &NewClaim) -> Result<Claim, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = commit::now_ms();
    let sweep = "DELETE FROM idempotency WHERE rowid IN
                 (SELECT rowid FROM idempotency WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)";
    transaction.prepare_cached(sweep)?.execute(params![now, EXPIRED_SWEEP_MAX])?;
    let RequestKey { user, route, key } = &claim.of;
    let known = "SELECT hash, status, content_type, body FROM idempotency
                 WHERE user_id = ?1 AND route = ?2 AND key_id = ?3 AND expires_ms > ?4";
    let read = |found: &Row<'_>| Ok(read(found, claim.hash));
    let known = transaction.prepare_cached(known)?.query_row(params![user, route, key, now], read).optional()?;
    let answer = known.transpose()?;
    if answer.is_none() {
        let insert = "INSERT OR REPLACE INTO idempotency (user_id, route, key_id, hash, token, expires_ms)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![user, route, key, claim.hash.0, claim.token.0, after(claim.lease)];
        transaction.prepare_cached(insert)?.execute(values)?;
    }
    transaction.commit()?;
    Ok(answer.unwrap_or(Claim::Fresh))
}

fn read(found: &Row<'_>, hash: Hash) -> Result<Claim, StoreError> {
    if row::hash(found, 0)? != hash {
        return Ok(Claim::Mismatch);
    }
    let Some(status) = found.get::<_, Option<u16>>(1)? else { return Ok(Claim::InFlight) };
    Ok(Claim::Done(KeptAnswer { status, content_type: found.get(2)?, body: found.get(3)? }))
}

/// An answer that comes after the lease finds another token, or none, and changes nothing.
pub(super) fn settle(
    connection: &Connection,
    of: &RequestKey,
    token: ClaimToken,
    answer: &KeptAnswer,
    kept: Duration,
) -> Result<bool, StoreError> {
    let update = "UPDATE idempotency SET expires_ms = ?5, status = ?6, content_type = ?7, body = ?8
                  WHERE user_id = ?1 AND route = ?2 AND key_id = ?3 AND token = ?4 AND status IS NULL";
    let KeptAnswer { status, content_type, body } = answer;
    let values = params![of.user, of.route, of.key, token.0, after(kept), status, content_type, body];
    Ok(connection.prepare_cached(update)?.execute(values)? == 1)
}

pub(super) fn release(connection: &Connection, of: &RequestKey, token: ClaimToken) -> Result<(), StoreError> {
    let delete = "DELETE FROM idempotency
                  WHERE user_id = ?1 AND route = ?2 AND key_id = ?3 AND token = ?4 AND status IS NULL";
    connection.prepare_cached(delete)?.execute(params![of.user, of.route, of.key, token.0])?;
    Ok(())
}

/// All answers that are kept in that folder, as the file has them: method and route, and the body.
#[cfg(test)]
pub(crate) fn answers_kept(folder: &std::path::Path) -> Vec<(String, String)> {
    let connection = Connection::open(folder.join(super::FILE)).unwrap();
    let select = "SELECT route, body FROM idempotency WHERE status IS NOT NULL ORDER BY route";
    let mut statement = connection.prepare(select).unwrap();
    let answer = |row: &Row<'_>| Ok((row.get(0)?, String::from_utf8_lossy(&row.get::<_, Vec<u8>>(1)?).into_owned()));
    statement.query_map([], answer).unwrap().map(Result::unwrap).collect()
}
