//! Spaces as people make and share them.

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior, params};
use sync_core::id::SpaceId;
use sync_core::ledger::Role;

use super::super::StoreError;
use super::super::spaces::{BOUNDS, Decided, Facts, NewSpace, OwnSpace, Refusal, Spaces};
use super::{SqliteStore, members, row};

#[async_trait]
impl Spaces for SqliteStore {
    async fn create_space(&self, new: NewSpace) -> Decided<()> {
        self.write(move |connection| create(connection, &new)).await
    }

    async fn named_spaces_of(&self, user: &str) -> Result<Vec<OwnSpace>, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| named_spaces_of(connection, &user)).await
    }

    async fn members(&self, space: SpaceId, by: &str) -> Decided<Vec<(String, Role)>> {
        let by = by.to_owned();
        self.read(move |connection| list(connection, space, &by)).await
    }

    async fn change_role(&self, space: SpaceId, by: &str, user: &str, role: Role) -> Decided<Role> {
        let (by, user) = (by.to_owned(), user.to_owned());
        self.write(move |connection| change_role(connection, space, &by, &user, role)).await
    }

    async fn remove_member(&self, space: SpaceId, by: &str, user: &str) -> Decided<()> {
        let (by, user) = (by.to_owned(), user.to_owned());
        self.write(move |connection| remove(connection, space, &by, &user)).await
    }
}

fn create(connection: &mut Connection, new: &NewSpace) -> Decided<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let made = "SELECT coalesce(max(number), 0) FROM made_spaces WHERE user_id = ?1";
    let made = transaction.prepare_cached(made)?.query_row([&new.owner], |found| Ok(row::number(found, 0)))??;
    if made >= new.bounds.spaces_made_max {
        return Ok(Err(Refusal::TooMany));
    }
    let id = new.space.as_bytes();
    let count = "INSERT INTO made_spaces (user_id, number, space_id) VALUES (?1, ?2, ?3)";
    transaction.execute(count, params![new.owner, (made + 1) as i64, id])?;
    members::ensure_space(&transaction, new.space)?;
    let name = "INSERT INTO space_names (space_id, name, created_by, created_ms) VALUES (?1, ?2, ?3, ?4)";
    transaction.execute(name, params![id, new.name, new.owner, new.now_ms as i64])?;
    let own = "INSERT INTO members (space_id, user_id, role) VALUES (?1, ?2, ?3)";
    transaction.execute(own, params![id, new.owner, Role::Owner as u8])?;
    transaction.commit()?;
    Ok(Ok(()))
}

fn named_spaces_of(connection: &Connection, user: &str) -> Result<Vec<OwnSpace>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT m.space_id, m.role, n.name FROM members m LEFT JOIN space_names n ON n.space_id = m.space_id
         WHERE m.user_id = ?1 ORDER BY m.space_id",
    )?;
    let mut rows = statement.query([user])?;
    let mut spaces = Vec::new();
    while let Some(found) = rows.next()? {
        spaces.push(OwnSpace { space: row::space(found, 0)?, role: row::role(found, 1)?, name: found.get(2)? });
    }
    Ok(spaces)
}

fn list(connection: &Connection, space: SpaceId, by: &str) -> Decided<Vec<(String, Role)>> {
    // Nobody's list is read but a member's own.
    let mut statement = connection.prepare_cached(
        "SELECT user_id, role FROM members WHERE space_id = ?1
         AND EXISTS (SELECT 1 FROM members own WHERE own.space_id = ?1 AND own.user_id = ?2)
         ORDER BY user_id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![space.as_bytes(), by, BOUNDS.members_max as i64])?;
    let mut members = Vec::new();
    while let Some(found) = rows.next()? {
        members.push((found.get(0)?, row::role(found, 1)?));
    }
    Ok(if members.is_empty() { Err(Refusal::NotFound) } else { Ok(members) })
}

fn facts(connection: &Connection, space: SpaceId, by: &str, user: &str) -> Result<Facts, StoreError> {
    let owners = "SELECT count(*) FROM (SELECT 1 FROM members WHERE space_id = ?1 AND role = ?2 LIMIT 2)";
    let values = params![space.as_bytes(), Role::Owner as u8];
    Ok(Facts {
        by: members::role(connection, space, by)?,
        of: members::role(connection, space, user)?,
        owners: connection.prepare_cached(owners)?.query_row(values, |found| Ok(row::number(found, 0)))??,
    })
}

fn change_role(connection: &mut Connection, space: SpaceId, by: &str, user: &str, role: Role) -> Decided<Role> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = match facts(&transaction, space, by, user)?.change_role(role) {
        Ok(before) => before,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let update = "UPDATE members SET role = ?3 WHERE space_id = ?1 AND user_id = ?2";
    transaction.execute(update, params![space.as_bytes(), user, role as u8])?;
    transaction.commit()?;
    Ok(Ok(before))
}

fn remove(connection: &mut Connection, space: SpaceId, by: &str, user: &str) -> Decided<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Err(refusal) = facts(&transaction, space, by, user)?.remove(by == user) {
        return Ok(Err(refusal));
    }
    let delete = "DELETE FROM members WHERE space_id = ?1 AND user_id = ?2";
    transaction.execute(delete, params![space.as_bytes(), user])?;
    transaction.commit()?;
    Ok(Ok(()))
}
