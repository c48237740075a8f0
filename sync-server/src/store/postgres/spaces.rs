//! Spaces as people make and share them. A membership changes under the lock of its space's row, as commits do: two owners who
//! demote each other do so one after the other, and after a removal nothing more of the member is taken.

use async_trait::async_trait;
use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use sync_core::log::Cursor;
use tokio::try_join;
use tokio_postgres::types::Type;

use super::super::StoreError;
use super::super::spaces::{BOUNDS, Decided, Facts, NewSpace, OwnSpace, Refusal, Spaces};
use super::pool::Pool;
use super::row::{self, uuid};
use super::session::Session;
use super::{PostgresStore, members};

const LOCK: &str = "SELECT head_seq FROM spaces WHERE space_id = $1 FOR NO KEY UPDATE";
/// The next number of a user, unless that would be too many. Who made another space meanwhile has taken the number: then
/// nothing happens.
const COUNT: &str = "
    INSERT INTO made_spaces (user_id, number, space_id)
    SELECT $1, coalesce(max(number), 0) + 1, $2 FROM made_spaces WHERE user_id = $1
    HAVING coalesce(max(number), 0) < $3
    ON CONFLICT DO NOTHING";
const MADE: &str = "SELECT coalesce(max(number), 0) FROM made_spaces WHERE user_id = $1";
const CREATE: &str = "
    WITH space AS (
        INSERT INTO spaces (space_id, head_seq, head_chain, documents_total) VALUES ($1, 0, $2, 0)
    ), name AS (
        INSERT INTO space_names (space_id, name, created_by, created_ms) VALUES ($1, $3, $4, $5)
    )
    INSERT INTO members (space_id, user_id, role) VALUES ($1, $4, $6)";
const NAMED: &str = "SELECT space_id FROM user_spaces WHERE user_id = $1 LIMIT $2";
const NAMED_SPACES: &str = "
    SELECT m.space_id, m.role, n.name FROM members m LEFT JOIN space_names n ON n.space_id = m.space_id
    WHERE m.space_id = ANY($1) AND m.user_id = $2 ORDER BY m.space_id";
/// Nobody's list is read but a member's own.
const MEMBERS: &str = "
    SELECT user_id, role FROM members WHERE space_id = $1
    AND EXISTS (SELECT 1 FROM members own WHERE own.space_id = $1 AND own.user_id = $2)
    LIMIT $3";
const FACTS: &str = "
    SELECT (SELECT role FROM members WHERE space_id = $1 AND user_id = $2),
           (SELECT role FROM members WHERE space_id = $1 AND user_id = $3),
           (SELECT count(*) FROM (SELECT 1 FROM members WHERE space_id = $1 AND role = $4 LIMIT 2) owners)";
const CHANGE: &str = "UPDATE members SET role = $3 WHERE space_id = $1 AND user_id = $2";
const REMOVE: &str = "DELETE FROM members WHERE space_id = $1 AND user_id = $2";

/// How often somebody is overtaken who makes a space, before being told to come again.
const OVERTAKEN_MAX: u32 = 16;

#[async_trait]
impl Spaces for PostgresStore {
    async fn create_space(&self, new: NewSpace) -> Decided<()> {
        self.primary.with(async |client| create(client, &new).await).await
    }

    async fn named_spaces_of(&self, user: &str) -> Result<Vec<OwnSpace>, StoreError> {
        self.primary.with(async |client| named_spaces_of(client, user).await).await
    }

    async fn members(&self, space: SpaceId, by: &str) -> Decided<Vec<(String, Role)>> {
        self.primary.with(async |client| list(client, space, by).await).await
    }

    async fn change_role(&self, space: SpaceId, by: &str, user: &str, role: Role) -> Decided<Role> {
        let change = async |client: &Session| {
            let before = match facts(client, space, by, user).await?.change_role(role) {
                Ok(before) => before,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let (id, role) = (uuid(space.as_bytes()), role as i16);
            client.execute_typed(CHANGE, &[(&id, Type::UUID), (&user, Type::TEXT), (&role, Type::INT2)]).await?;
            Ok(Ok(before))
        };
        self.primary.with(async |client| locked(client, &self.primary, space, change).await).await
    }

    async fn remove_member(&self, space: SpaceId, by: &str, user: &str) -> Decided<()> {
        let remove = async |client: &Session| {
            if let Err(refusal) = facts(client, space, by, user).await?.remove(by == user) {
                return Ok(Err(refusal));
            }
            let id = uuid(space.as_bytes());
            client.execute_typed(REMOVE, &[(&id, Type::UUID), (&user, Type::TEXT)]).await?;
            Ok(Ok(()))
        };
        self.primary.with(async |client| locked(client, &self.primary, space, remove).await).await
    }
}

/// Works in a transaction that holds the space's lock, and keeps what was done unless it was refused.
pub(super) async fn locked<T>(
    client: &Session,
    pool: &Pool,
    space: SpaceId,
    work: impl AsyncFnOnce(&Session) -> Decided<T>,
) -> Decided<T> {
    let id = uuid(space.as_bytes());
    let lock = [(&id as _, Type::UUID)];
    let begun = async { Ok::<_, StoreError>(client.batch_execute(pool.begin()).await?) };
    try_join!(biased; begun, async { Ok(client.query_typed(LOCK, &lock).await?) })?;
    let done = work(client).await?;
    client.batch_execute(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    Ok(done)
}

/// First what belongs to the user, then the space in one transaction. What a crash leaves between them is a number that is
/// used up, and a space in the user's directory that nobody has entered.
async fn create(client: &Session, new: &NewSpace) -> Decided<()> {
    let (id, most) = (uuid(new.space.as_bytes()), new.bounds.spaces_made_max as i64);
    let counted = [(&new.owner as _, Type::TEXT), (&id as _, Type::UUID), (&most as _, Type::INT8)];
    let mut tries = 0;
    while client.execute_typed(COUNT, &counted).await? == 0 {
        let made = client.query_typed(MADE, &counted[..1]).await?;
        let made = made.first().map_or(Ok(0), |found| row::number(found, 0))?;
        if made >= new.bounds.spaces_made_max {
            return Ok(Err(Refusal::TooMany));
        }
        tries += 1;
        if tries >= OVERTAKEN_MAX {
            return Err(StoreError::Busy);
        }
    }
    members::name(client, new.space, &new.owner).await?;
    let (start, now, role) = (Cursor::start(new.space).chain.0, new.now_ms as i64, Role::Owner as i16);
    client
        .execute_typed(
            CREATE,
            &[
                (&id, Type::UUID),
                (&start.as_slice(), Type::BYTEA),
                (&new.name, Type::TEXT),
                (&new.owner, Type::TEXT),
                (&now, Type::INT8),
                (&role, Type::INT2),
            ],
        )
        .await?;
    Ok(Ok(()))
}

/// As for spaces without names: first where the user is said to be, then, for those alone, whether that is so.
async fn named_spaces_of(client: &Session, user: &str) -> Result<Vec<OwnSpace>, StoreError> {
    let named = client.query_typed(NAMED, &[(&user, Type::TEXT), (&members::SPACES_OF_USER_MAX, Type::INT8)]).await?;
    let named = named.iter().map(|found| row::get::<uuid::Uuid>(found, 0)).collect::<Result<Vec<_>, _>>()?;
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let found = client.query_typed(NAMED_SPACES, &[(&named, Type::UUID_ARRAY), (&user, Type::TEXT)]).await?;
    let read = |found| {
        let role = row::role(row::get::<i16>(found, 1)?)?;
        Ok(OwnSpace { space: row::space(found, 0)?, role, name: row::get(found, 2)? })
    };
    found.iter().map(read).collect()
}

async fn list(client: &Session, space: SpaceId, by: &str) -> Decided<Vec<(String, Role)>> {
    let (id, most) = (uuid(space.as_bytes()), BOUNDS.members_max as i64);
    let found = client.query_typed(MEMBERS, &[(&id, Type::UUID), (&by, Type::TEXT), (&most, Type::INT8)]).await?;
    let read = |found| Ok((row::get::<String>(found, 0)?, row::role(row::get::<i16>(found, 1)?)?));
    let mut members = found.iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
    // The database's own order of texts is anybody's.
    members.sort_unstable();
    Ok(if members.is_empty() { Err(Refusal::NotFound) } else { Ok(members) })
}

pub(super) async fn facts(client: &Session, space: SpaceId, by: &str, user: &str) -> Result<Facts, StoreError> {
    let (id, owner) = (uuid(space.as_bytes()), Role::Owner as i16);
    let wanted = [(&id as _, Type::UUID), (&by as _, Type::TEXT), (&user as _, Type::TEXT), (&owner as _, Type::INT2)];
    let found = client.query_typed(FACTS, &wanted).await?;
    let found = found.first().ok_or_else(|| row::corrupt("facts of a membership"))?;
    let role = |at| row::get::<Option<i16>>(found, at)?.map(row::role).transpose();
    Ok(Facts { by: role(0)?, of: role(1)?, owners: row::number(found, 2)? })
}
