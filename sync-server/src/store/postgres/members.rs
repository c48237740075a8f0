//! Spaces and who may enter them.

use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use sync_core::log::Cursor;
use tokio_postgres::types::Type;

use super::super::StoreError;
use super::super::lifecycle::Standing;
use super::row::{self, uuid};
use super::session::Session;

/// Spaces that one user may be in. Invitations are few, so this is far away; it bounds one answer.
pub(super) const SPACES_OF_USER_MAX: i64 = 100_000;

pub(super) async fn role(client: &Session, space: SpaceId, user: &str) -> Result<Option<Role>, StoreError> {
    let found = client
        .query_typed(
            "SELECT role FROM members WHERE space_id = $1 AND user_id = $2",
            &[(&uuid(space.as_bytes()), Type::UUID), (&user, Type::TEXT)],
        )
        .await?;
    found.first().map(|found| row::role(row::get::<i16>(found, 0)?)).transpose()
}

/// A space with that owner. Each statement is a transaction of its own and may be repeated; what a crash leaves between
/// them is a name too many in `user_spaces`, or a space that nobody has entered yet.
pub(super) async fn ensure_owner(client: &Session, space: SpaceId, user: &str) -> Result<(), StoreError> {
    name(client, space, user).await?;
    ensure_space(client, space).await?;
    client
        .execute_typed(
            "INSERT INTO members (space_id, user_id, role) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            &[(&uuid(space.as_bytes()), Type::UUID), (&user, Type::TEXT), (&(Role::Owner as i16), Type::INT2)],
        )
        .await?;
    Ok(())
}

pub(super) async fn set_role(
    client: &Session,
    space: SpaceId,
    user: &str,
    role: Option<Role>,
) -> Result<(), StoreError> {
    let id = uuid(space.as_bytes());
    let Some(role) = role else {
        let delete = "DELETE FROM members WHERE space_id = $1 AND user_id = $2";
        client.execute_typed(delete, &[(&id, Type::UUID), (&user, Type::TEXT)]).await?;
        return Ok(());
    };
    name(client, space, user).await?;
    ensure_space(client, space).await?;
    client
        .execute_typed(
            "INSERT INTO members (space_id, user_id, role) VALUES ($1, $2, $3)
         ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role",
            &[(&id, Type::UUID), (&user, Type::TEXT), (&(role as i16), Type::INT2)],
        )
        .await?;
    Ok(())
}

/// First where the user is said to be, then, for those spaces alone, whether that is so: no query spans what is sharded by
/// different columns.
pub(super) async fn spaces_of(client: &Session, user: &str) -> Result<Vec<(SpaceId, Role)>, StoreError> {
    let named = client
        .query_typed(
            "SELECT space_id FROM user_spaces WHERE user_id = $1 LIMIT $2",
            &[(&user, Type::TEXT), (&SPACES_OF_USER_MAX, Type::INT8)],
        )
        .await?;
    let named = named.iter().map(|found| row::get::<uuid::Uuid>(found, 0)).collect::<Result<Vec<_>, _>>()?;
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let found = client
        .query_typed(
            "SELECT space_id, role FROM members WHERE space_id = ANY($1) AND user_id = $2 ORDER BY space_id",
            &[(&named, Type::UUID_ARRAY), (&user, Type::TEXT)],
        )
        .await?;
    found.iter().map(|found| Ok((row::space(found, 0)?, row::role(row::get::<i16>(found, 1)?)?))).collect()
}

pub(super) async fn name(client: &Session, space: SpaceId, user: &str) -> Result<(), StoreError> {
    client
        .execute_typed(
            "INSERT INTO user_spaces (user_id, space_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            &[(&user, Type::TEXT), (&uuid(space.as_bytes()), Type::UUID)],
        )
        .await?;
    Ok(())
}

pub(super) async fn ensure_space(client: &Session, space: SpaceId) -> Result<(), StoreError> {
    let start = Cursor::start(space);
    client
        .execute_typed(
            "INSERT INTO spaces (space_id, head_seq, head_chain, documents_total) VALUES ($1, 0, $2, 0)
         ON CONFLICT DO NOTHING",
            &[(&uuid(space.as_bytes()), Type::UUID), (&start.chain.0.as_slice(), Type::BYTEA)],
        )
        .await?;
    let closed = client
        .query_typed("SELECT closed FROM spaces WHERE space_id = $1", &[(&uuid(space.as_bytes()), Type::UUID)])
        .await?;
    let closed = closed.first().map_or(Ok(0), |found| row::get::<i16>(found, 0))?;
    // Who may enter a space that is being filled may be said already.
    if Standing::from_number(closed.into())? == Standing::Deleted { Err(StoreError::DeletedSpace) } else { Ok(()) }
}
