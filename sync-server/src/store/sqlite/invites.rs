//! Invitations.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use uuid::Uuid;

use super::super::StoreError;
use super::super::invites::{
    Acceptance, INVITE_SWEEP_MAX, Invite, Invites, Joined, Kept, NewInvite, Step, used_before_ms,
};
use super::super::spaces::{BOUNDS, Decided, Refusal};
use super::{SqliteStore, members, row};

#[async_trait]
impl Invites for SqliteStore {
    async fn invite(&self, new: NewInvite) -> Decided<()> {
        self.write(move |connection| invite(connection, &new)).await
    }

    async fn open_invites(&self, space: SpaceId, by: &str, now_ms: u64) -> Decided<Vec<Invite>> {
        let by = by.to_owned();
        self.read(move |connection| open(connection, space, &by, now_ms)).await
    }

    async fn revoke_invite(&self, space: SpaceId, by: &str, invite: Uuid, now_ms: u64) -> Decided<()> {
        let by = by.to_owned();
        self.write(move |connection| revoke(connection, space, &by, invite, now_ms)).await
    }

    /// Looked at where reading holds up nobody, so that the many who guess never wait for the writer, and all as long.
    async fn accept_invite(&self, acceptance: Acceptance) -> Decided<Joined> {
        let looked_at = acceptance.clone();
        match self.read(move |connection| look(connection, &looked_at)).await? {
            Ok(Step::Join(_)) => self.write(move |connection| accept(connection, &acceptance)).await,
            Ok(Step::Stay(role)) => {
                self.read(move |connection| joined(connection, acceptance.space, role, false)).await
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

fn asked_by_owner(connection: &Connection, space: SpaceId, by: &str) -> Result<Result<(), Refusal>, StoreError> {
    Ok(match members::role(connection, space, by)? {
        None => Err(Refusal::NotFound),
        Some(Role::Owner) => Ok(()),
        Some(_) => Err(Refusal::Forbidden),
    })
}

fn invite(connection: &mut Connection, new: &NewInvite) -> Decided<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Err(refusal) = asked_by_owner(&transaction, new.space, &new.by)? {
        return Ok(Err(refusal));
    }
    let (id, now) = (new.space.as_bytes(), new.now_ms as i64);
    let sweep = "DELETE FROM invites WHERE space_id = ?1 AND invite_id IN
                 (SELECT invite_id FROM invites WHERE space_id = ?1
                  AND (used_ms < ?3 OR (used_by IS NULL AND expires_ms <= ?2)) LIMIT ?4)";
    transaction.prepare_cached(sweep)?.execute(params![id, now, used_before_ms(new.now_ms), INVITE_SWEEP_MAX])?;
    let count = "SELECT count(*) FILTER (WHERE used_by IS NULL AND expires_ms > ?2), count(*)
                 FROM invites WHERE space_id = ?1";
    let counted = |found: &Row<'_>| Ok((row::number(found, 0), row::number(found, 1)));
    let (open, kept) = transaction.prepare_cached(count)?.query_row(params![id, now], counted)?;
    if !new.has_room(open?, kept?) {
        // What was cleared away may stay so.
        transaction.commit()?;
        return Ok(Err(Refusal::TooMany));
    }
    let insert = "INSERT INTO invites (space_id, invite_id, secret_hash, role, created_by, created_ms, expires_ms)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (invite, expires) = (new.invite.as_bytes(), new.expires_ms as i64);
    let values = params![id, invite, new.secret_hash.0, new.role as u8, new.by, now, expires];
    transaction.prepare_cached(insert)?.execute(values)?;
    transaction.commit()?;
    Ok(Ok(()))
}

fn open(connection: &Connection, space: SpaceId, by: &str, now_ms: u64) -> Decided<Vec<Invite>> {
    if let Err(refusal) = asked_by_owner(connection, space, by)? {
        return Ok(Err(refusal));
    }
    let mut statement = connection.prepare_cached(
        "SELECT invite_id, role, created_by, created_ms, expires_ms FROM invites
         WHERE space_id = ?1 AND used_by IS NULL AND expires_ms > ?2
         AND EXISTS (SELECT 1 FROM members own WHERE own.space_id = ?1 AND own.user_id = ?3 AND own.role = ?4)
         ORDER BY created_ms, invite_id LIMIT ?5",
    )?;
    let values = params![space.as_bytes(), now_ms as i64, by, Role::Owner as u8, BOUNDS.open_invites_max as i64];
    let mut rows = statement.query(values)?;
    let mut invites = Vec::new();
    while let Some(found) = rows.next()? {
        let invite = Uuid::from_slice(&found.get::<_, Vec<u8>>(0)?).map_err(|_| row::corrupt("invite"))?;
        let (created_ms, expires_ms) = (row::number(found, 3)?, row::number(found, 4)?);
        invites.push(Invite { invite, role: row::role(found, 1)?, by: found.get(2)?, created_ms, expires_ms });
    }
    Ok(Ok(invites))
}

fn revoke(connection: &mut Connection, space: SpaceId, by: &str, invite: Uuid, now_ms: u64) -> Decided<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Err(refusal) = asked_by_owner(&transaction, space, by)? {
        return Ok(Err(refusal));
    }
    let delete = "DELETE FROM invites
                  WHERE space_id = ?1 AND invite_id = ?2 AND used_by IS NULL AND expires_ms > ?3";
    let gone = transaction.execute(delete, params![space.as_bytes(), invite.as_bytes(), now_ms as i64])?;
    transaction.commit()?;
    Ok(if gone == 1 { Ok(()) } else { Err(Refusal::NotFound) })
}

fn look(connection: &Connection, acceptance: &Acceptance) -> Decided<Step> {
    // One row whatever is there, and as much to read in it.
    let known = "SELECT i.space_id IS NOT NULL, coalesce(i.secret_hash, zeroblob(32)), coalesce(i.role, 1),
                        coalesce(i.expires_ms, 0), coalesce(i.used_by, '')
                 FROM (SELECT 1) LEFT JOIN invites i ON i.space_id = ?1 AND i.invite_id = ?2";
    let key = params![acceptance.space.as_bytes(), acceptance.invite.as_bytes()];
    let kept = connection.prepare_cached(known)?.query_row(key, |found| Ok(kept(found)))??;
    let member = members::role(connection, acceptance.space, &acceptance.user)?;
    Ok(acceptance.decide(&kept, member))
}

fn kept(found: &Row<'_>) -> Result<Kept, StoreError> {
    Ok(Kept {
        is_there: found.get(0)?,
        secret_hash: row::hash(found, 1)?,
        role: row::role(found, 2)?,
        expires_ms: row::number(found, 3)?,
        used_by: found.get(4)?,
    })
}

fn accept(connection: &mut Connection, acceptance: &Acceptance) -> Decided<Joined> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let space = acceptance.space;
    let role = match look(&transaction, acceptance)? {
        Ok(Step::Join(role)) => role,
        Ok(Step::Stay(role)) => return joined(&transaction, space, role, false),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (id, user) = (space.as_bytes(), &acceptance.user);
    let full = "SELECT count(*) FROM members WHERE space_id = ?1 AND user_id <> ?2";
    let others =
        transaction.prepare_cached(full)?.query_row(params![id, user], |found| Ok(row::number(found, 0)))??;
    if others >= acceptance.bounds.members_max {
        return Ok(Err(Refusal::TooMany));
    }
    let take = "UPDATE invites SET used_by = ?3, used_ms = ?4 WHERE space_id = ?1 AND invite_id = ?2";
    transaction.execute(take, params![id, acceptance.invite.as_bytes(), user, acceptance.now_ms as i64])?;
    let join = "INSERT INTO members (space_id, user_id, role) VALUES (?1, ?2, ?3)
                ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role";
    transaction.execute(join, params![id, user, role as u8])?;
    let answer = joined(&transaction, space, role, true)?;
    transaction.commit()?;
    Ok(answer)
}

fn joined(connection: &Connection, space: SpaceId, role: Role, is_new: bool) -> Decided<Joined> {
    let name = "SELECT name FROM space_names WHERE space_id = ?1";
    let name = connection.prepare_cached(name)?.query_row([space.as_bytes()], |found| found.get(0)).optional()?;
    Ok(Ok(Joined { role, name, is_new }))
}
