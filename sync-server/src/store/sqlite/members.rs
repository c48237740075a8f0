//! Spaces and who may enter them.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use sync_core::log::Cursor;

use super::super::StoreError;
use super::super::lifecycle::Standing;
use super::{commit, row};

pub(super) fn role(connection: &Connection, space: SpaceId, user: &str) -> Result<Option<Role>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT role FROM members WHERE space_id = ?1 AND user_id = ?2")?;
    let mut rows = statement.query(params![space.as_bytes(), user])?;
    rows.next()?.map(|found| row::role(found, 0)).transpose()
}

pub(super) fn ensure_personal(connection: &mut Connection, user: &str) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let space = SpaceId::personal(user);
    ensure_space(&transaction, space)?;
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO members (space_id, user_id, role) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![space.as_bytes(), user, Role::Owner as u8])?;
    drop(insert);
    Ok(transaction.commit()?)
}

pub(super) fn set_role(
    connection: &mut Connection,
    space: SpaceId,
    user: &str,
    role: Option<Role>,
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(role) = role {
        ensure_space(&transaction, space)?;
        transaction.execute(
            "INSERT INTO members (space_id, user_id, role) VALUES (?1, ?2, ?3)
             ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role",
            params![space.as_bytes(), user, role as u8],
        )?;
    } else {
        transaction
            .execute("DELETE FROM members WHERE space_id = ?1 AND user_id = ?2", params![space.as_bytes(), user])?;
    }
    Ok(transaction.commit()?)
}

pub(super) fn spaces_of(connection: &Connection, user: &str) -> Result<Vec<(SpaceId, Role)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT space_id, role FROM members WHERE user_id = ?1 ORDER BY space_id")?;
    let mut rows = statement.query([user])?;
    let mut spaces = Vec::new();
    while let Some(found) = rows.next()? {
        spaces.push((row::space(found, 0)?, row::role(found, 1)?));
    }
    Ok(spaces)
}

pub(super) fn ensure_space(connection: &Connection, space: SpaceId) -> Result<(), StoreError> {
    let known = "SELECT closed FROM spaces WHERE space_id = ?1";
    let closed: Option<i64> =
        connection.prepare_cached(known)?.query_row([space.as_bytes()], |found| found.get(0)).optional()?;
    if let Some(closed) = closed {
        // Who may enter a space that is being filled may be said already.
        return match Standing::from_number(closed)? {
            Standing::Deleted => Err(StoreError::DeletedSpace),
            Standing::Open | Standing::Filling => Ok(()),
        };
    }
    let insert = "INSERT INTO spaces (space_id, head_seq, head_chain, documents_total, created_ms)
                  VALUES (?1, 0, ?2, 0, ?3)";
    let start = Cursor::start(space);
    connection.prepare_cached(insert)?.execute(params![space.as_bytes(), start.chain.0, commit::now_ms()])?;
    Ok(())
}
