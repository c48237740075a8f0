//! Accounts and attempts to sign in.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use sync_core::id::Hash;

use super::super::StoreError;
use super::super::accounts::{AccountRecord, Accounts, Attempts, AttemptsRecord, FORGOTTEN_SWEEP_MAX, pack, unpack};
use super::{SqliteStore, row};

#[async_trait]
impl Accounts for SqliteStore {
    async fn add_account(&self, account: AccountRecord) -> Result<bool, StoreError> {
        self.write(move |connection| add(connection, &account)).await
    }

    async fn account(&self, email: &str) -> Result<Option<AccountRecord>, StoreError> {
        let email = email.to_owned();
        self.read(move |connection| {
            let select =
                "SELECT email, user_id, password_hash, display_name, created_ms FROM accounts WHERE email = ?1";
            one(connection, select, &email)
        })
        .await
    }

    async fn account_of(&self, user: &str) -> Result<Option<AccountRecord>, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| {
            let select =
                "SELECT email, user_id, password_hash, display_name, created_ms FROM accounts WHERE user_id = ?1";
            one(connection, select, &user)
        })
        .await
    }

    async fn replace_password(&self, email: &str, was: &str, hash: &str) -> Result<bool, StoreError> {
        let (email, was, hash) = (email.to_owned(), was.to_owned(), hash.to_owned());
        self.write(move |connection| {
            let update = "UPDATE accounts SET password_hash = ?3 WHERE email = ?1 AND password_hash = ?2";
            Ok(connection.prepare_cached(update)?.execute([email, was, hash])? == 1)
        })
        .await
    }

    async fn forget_user(&self, user: &str) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.write(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for table in ["sessions", "last_seen", "flagged", "idempotency", "made_spaces"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE user_id = ?1"), [&user])?;
            }
            let nameless = "UPDATE devices SET name = 'deleted', public_key = NULL WHERE user_id = ?1";
            transaction.execute(nameless, [&user])?;
            transaction.execute("UPDATE users SET display_name = NULL WHERE user_id = ?1", [&user])?;
            transaction.execute("DELETE FROM accounts WHERE user_id = ?1", [&user])?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn attempts(&self, identity: Hash) -> Result<Option<AttemptsRecord>, StoreError> {
        self.read(move |connection| attempts(connection, identity)).await
    }

    async fn replace_attempts(
        &self,
        identity: Hash,
        was: Option<u64>,
        attempts: &Attempts,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let attempts = attempts.clone();
        self.write(move |connection| replace(connection, identity, was, &attempts, now_ms)).await
    }
}

fn add(connection: &Connection, account: &AccountRecord) -> Result<bool, StoreError> {
    let AccountRecord { email, user, password_hash, display_name, created_ms } = account;
    let insert = "INSERT INTO accounts (email, user_id, password_hash, display_name, created_ms)
                  VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (email) DO NOTHING";
    let values = params![email, user, password_hash, display_name, created_ms];
    Ok(connection.prepare_cached(insert)?.execute(values)? == 1)
}

fn one(connection: &Connection, select: &str, of: &str) -> Result<Option<AccountRecord>, StoreError> {
    let read = |found: &Row<'_>| {
        Ok(AccountRecord {
            email: found.get(0)?,
            user: found.get(1)?,
            password_hash: found.get(2)?,
            display_name: found.get(3)?,
            created_ms: found.get(4)?,
        })
    };
    Ok(connection.prepare_cached(select)?.query_row([of], read).optional()?)
}

fn attempts(connection: &Connection, identity: Hash) -> Result<Option<AttemptsRecord>, StoreError> {
    let select = "SELECT version, recent, failures, in_a_row, not_before_ms, blocks, blocked_until_ms, forgotten_ms
                  FROM sign_in_failures WHERE identity = ?1";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query([identity.0])?;
    let Some(found) = rows.next()? else { return Ok(None) };
    let times = |at: usize| -> Result<Vec<u64>, StoreError> {
        unpack(&found.get::<_, Vec<u8>>(at)?).ok_or_else(|| row::corrupt("times"))
    };
    let attempts = Attempts {
        recent: times(1)?,
        failures: times(2)?,
        in_a_row: found.get(3)?,
        not_before_ms: row::number(found, 4)?,
        blocks: found.get(5)?,
        blocked_until_ms: row::number(found, 6)?,
        forgotten_ms: row::number(found, 7)?,
    };
    Ok(Some(AttemptsRecord { version: row::number(found, 0)?, attempts }))
}

fn replace(
    connection: &mut Connection,
    identity: Hash,
    was: Option<u64>,
    attempts: &Attempts,
    now_ms: u64,
) -> Result<bool, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sweep = "DELETE FROM sign_in_failures WHERE identity IN
                 (SELECT identity FROM sign_in_failures WHERE forgotten_ms <= ?1 AND identity <> ?2
                  ORDER BY forgotten_ms LIMIT ?3)";
    transaction.prepare_cached(sweep)?.execute(params![now_ms, identity.0, FORGOTTEN_SWEEP_MAX])?;
    let Attempts { recent, failures, in_a_row, not_before_ms, blocks, blocked_until_ms, forgotten_ms } = attempts;
    let change = if was.is_some() {
        "UPDATE sign_in_failures SET version = version + 1, recent = ?3, failures = ?4, in_a_row = ?5, not_before_ms = ?6,
             blocks = ?7, blocked_until_ms = ?8, forgotten_ms = ?9
         WHERE identity = ?1 AND version = ?2"
    } else {
        "INSERT INTO sign_in_failures
             (identity, version, recent, failures, in_a_row, not_before_ms, blocks, blocked_until_ms, forgotten_ms)
         VALUES (?1, ?2 + 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (identity) DO NOTHING"
    };
    let values = params![
        identity.0,
        was.unwrap_or(0),
        pack(recent),
        pack(failures),
        in_a_row,
        not_before_ms,
        blocks,
        blocked_until_ms,
        forgotten_ms
    ];
    let changed = transaction.prepare_cached(change)?.execute(values)? == 1;
    transaction.commit()?;
    Ok(changed)
}
