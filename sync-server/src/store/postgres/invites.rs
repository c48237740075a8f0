//! Invitations.

use async_trait::async_trait;
use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::StoreError;
use super::super::invites::{
    Acceptance, INVITE_SWEEP_MAX, Invite, Invites, Joined, Kept, NewInvite, Step, used_before_ms,
};
use super::super::spaces::{BOUNDS, Decided, Refusal};
use super::row::{self, uuid};
use super::session::{Parameter, Session};
use super::spaces::locked;
use super::{PostgresStore, members};

const SWEEP: &str = "
    DELETE FROM invites WHERE space_id = $1 AND invite_id IN (
        SELECT invite_id FROM invites WHERE space_id = $1
        AND (used_ms < $3 OR (used_by IS NULL AND expires_ms <= $2)) LIMIT $4)";
const COUNT: &str = "
    SELECT count(*) FILTER (WHERE used_by IS NULL AND expires_ms > $2), count(*) FROM invites WHERE space_id = $1";
const INSERT: &str = "
    INSERT INTO invites (space_id, invite_id, secret_hash, role, created_by, created_ms, expires_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const OPEN: &str = "
    SELECT invite_id, role, created_by, created_ms, expires_ms FROM invites
    WHERE space_id = $1 AND used_by IS NULL AND expires_ms > $2
    AND EXISTS (SELECT 1 FROM members own WHERE own.space_id = $1 AND own.user_id = $3 AND own.role = $4)
    ORDER BY created_ms, invite_id LIMIT $5";
const REVOKE: &str = "
    DELETE FROM invites WHERE space_id = $1 AND invite_id = $2 AND used_by IS NULL AND expires_ms > $3";
/// One row whatever is there, with as much to read in it, and each table is looked into whatever the others hold.
const LOOK: &str = "
    SELECT i.space_id IS NOT NULL, coalesce(i.secret_hash, decode(repeat('00', 32), 'hex')),
           coalesce(i.role, 1::smallint), coalesce(i.expires_ms, 0), coalesce(i.used_by, ''), m.role, n.name
    FROM (SELECT 1) AS asked
    LEFT JOIN invites i ON i.space_id = $1 AND i.invite_id = $2
    LEFT JOIN members m ON m.space_id = $1 AND m.user_id = $3
    LEFT JOIN space_names n ON n.space_id = $1";
const OTHERS: &str = "SELECT count(*) FROM members WHERE space_id = $1 AND user_id <> $2";
const USE: &str = "UPDATE invites SET used_by = $3, used_ms = $4 WHERE space_id = $1 AND invite_id = $2";
const JOIN: &str = "
    INSERT INTO members (space_id, user_id, role) VALUES ($1, $2, $3)
    ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role";

#[async_trait]
impl Invites for PostgresStore {
    async fn invite(&self, new: NewInvite) -> Decided<()> {
        let invite = async |client: &Session| invite(client, &new).await;
        self.primary.with(async |client| locked(client, &self.primary, new.space, invite).await).await
    }

    async fn open_invites(&self, space: SpaceId, by: &str, now_ms: u64) -> Decided<Vec<Invite>> {
        self.primary.with(async |client| open(client, space, by, now_ms).await).await
    }

    async fn revoke_invite(&self, space: SpaceId, by: &str, invite: Uuid, now_ms: u64) -> Decided<()> {
        let revoke = async |client: &Session| {
            if let Err(refusal) = asked_by_owner(client, space, by).await? {
                return Ok(Err(refusal));
            }
            let (id, now) = (uuid(space.as_bytes()), now_ms as i64);
            let which = [(&id as _, Type::UUID), (&invite as _, Type::UUID), (&now as _, Type::INT8)];
            let gone = client.execute_typed(REVOKE, &which).await?;
            Ok(if gone == 1 { Ok(()) } else { Err(Refusal::NotFound) })
        };
        self.primary.with(async |client| locked(client, &self.primary, space, revoke).await).await
    }

    /// Looked at without any lock, so that the many who guess never hold one, and all take as long.
    async fn accept_invite(&self, acceptance: Acceptance) -> Decided<Joined> {
        let space = acceptance.space;
        let look_first = async |client: &Session| {
            let looked = look(client, &acceptance).await?;
            if matches!(looked, Ok((Step::Join(_), _))) {
                // Belongs to the user, so it is no part of the space's transaction; too many of them do no harm.
                members::name(client, space, &acceptance.user).await?;
            }
            Ok(looked)
        };
        match self.primary.with(look_first).await? {
            Ok((Step::Join(_), _)) => {}
            Ok((Step::Stay(role), name)) => return Ok(Ok(Joined { role, name, is_new: false })),
            Err(refusal) => return Ok(Err(refusal)),
        }
        let accept = async |client: &Session| accept(client, &acceptance).await;
        self.primary.with(async |client| locked(client, &self.primary, space, accept).await).await
    }
}

async fn asked_by_owner(client: &Session, space: SpaceId, by: &str) -> Result<Result<(), Refusal>, StoreError> {
    Ok(match members::role(client, space, by).await? {
        None => Err(Refusal::NotFound),
        Some(Role::Owner) => Ok(()),
        Some(_) => Err(Refusal::Forbidden),
    })
}

async fn invite(client: &Session, new: &NewInvite) -> Decided<()> {
    if let Err(refusal) = asked_by_owner(client, new.space, &new.by).await? {
        return Ok(Err(refusal));
    }
    let (id, now, used_before) = (uuid(new.space.as_bytes()), new.now_ms as i64, used_before_ms(new.now_ms));
    let most = i64::from(INVITE_SWEEP_MAX);
    let swept: [Parameter<'_>; 4] =
        [(&id, Type::UUID), (&now, Type::INT8), (&used_before, Type::INT8), (&most, Type::INT8)];
    let (_, counted) = try_join!(biased; client.execute_typed(SWEEP, &swept), client.query_typed(COUNT, &swept[..2]))?;
    let counted = counted.first().ok_or_else(|| row::corrupt("count of invitations"))?;
    if !new.has_room(row::number(counted, 0)?, row::number(counted, 1)?) {
        return Ok(Err(Refusal::TooMany));
    }
    let (hash, role, expires) = (new.secret_hash.0.as_slice(), new.role as i16, new.expires_ms as i64);
    let values: [Parameter<'_>; 7] = [
        (&id, Type::UUID),
        (&new.invite, Type::UUID),
        (&hash, Type::BYTEA),
        (&role, Type::INT2),
        (&new.by, Type::TEXT),
        (&now, Type::INT8),
        (&expires, Type::INT8),
    ];
    client.execute_typed(INSERT, &values).await?;
    Ok(Ok(()))
}

async fn open(client: &Session, space: SpaceId, by: &str, now_ms: u64) -> Decided<Vec<Invite>> {
    if let Err(refusal) = asked_by_owner(client, space, by).await? {
        return Ok(Err(refusal));
    }
    let (id, now, owner, most) =
        (uuid(space.as_bytes()), now_ms as i64, Role::Owner as i16, BOUNDS.open_invites_max as i64);
    let wanted: [Parameter<'_>; 5] =
        [(&id, Type::UUID), (&now, Type::INT8), (&by, Type::TEXT), (&owner, Type::INT2), (&most, Type::INT8)];
    let found = client.query_typed(OPEN, &wanted).await?;
    let read = |found: &Row| {
        Ok(Invite {
            invite: row::get(found, 0)?,
            role: row::role(row::get::<i16>(found, 1)?)?,
            by: row::get(found, 2)?,
            created_ms: row::number(found, 3)?,
            expires_ms: row::number(found, 4)?,
        })
    };
    Ok(Ok(found.iter().map(read).collect::<Result<_, StoreError>>()?))
}

/// What accepting would do, and what the space is called.
async fn look(client: &Session, acceptance: &Acceptance) -> Decided<(Step, Option<String>)> {
    let id = uuid(acceptance.space.as_bytes());
    let key: [Parameter<'_>; 3] = [(&id, Type::UUID), (&acceptance.invite, Type::UUID), (&acceptance.user, Type::TEXT)];
    let found = client.query_typed(LOOK, &key).await?;
    let found = found.first().ok_or_else(|| row::corrupt("look at an invitation"))?;
    let kept = kept(found)?;
    let member = row::get::<Option<i16>>(found, 5)?.map(row::role).transpose()?;
    let name = row::get(found, 6)?;
    Ok(acceptance.decide(&kept, member).map(|step| (step, name)))
}

fn kept(found: &Row) -> Result<Kept, StoreError> {
    Ok(Kept {
        is_there: row::get(found, 0)?,
        secret_hash: row::hash(found, 1)?,
        role: row::role(row::get::<i16>(found, 2)?)?,
        expires_ms: row::number(found, 3)?,
        used_by: row::get(found, 4)?,
    })
}

async fn accept(client: &Session, acceptance: &Acceptance) -> Decided<Joined> {
    let (role, name) = match look(client, acceptance).await? {
        Ok((Step::Join(role), name)) => (role, name),
        Ok((Step::Stay(role), name)) => return Ok(Ok(Joined { role, name, is_new: false })),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (id, user) = (uuid(acceptance.space.as_bytes()), &acceptance.user);
    let others = client.query_typed(OTHERS, &[(&id, Type::UUID), (user, Type::TEXT)]).await?;
    if others.first().map_or(Ok(0), |found| row::number(found, 0))? >= acceptance.bounds.members_max {
        return Ok(Err(Refusal::TooMany));
    }
    let (now, number) = (acceptance.now_ms as i64, role as i16);
    let used: [Parameter<'_>; 4] =
        [(&id, Type::UUID), (&acceptance.invite, Type::UUID), (user, Type::TEXT), (&now, Type::INT8)];
    let joined: [Parameter<'_>; 3] = [(&id, Type::UUID), (user, Type::TEXT), (&number, Type::INT2)];
    try_join!(biased; client.execute_typed(USE, &used), client.execute_typed(JOIN, &joined))?;
    Ok(Ok(Joined { role, name, is_new: true }))
}
