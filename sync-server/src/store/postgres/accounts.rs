//! Accounts and attempts to sign in.

use async_trait::async_trait;
use sync_core::id::Hash;
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::StoreError;
use super::super::accounts::{AccountRecord, Accounts, Attempts, AttemptsRecord, FORGOTTEN_SWEEP_MAX, pack, unpack};
use super::session::Session;
use super::{PostgresStore, row};

const ADD: &str = "
    INSERT INTO accounts (email, user_id, password_hash, display_name, created_ms)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (email) DO NOTHING";
const BY_EMAIL: &str = "
    SELECT email, user_id, password_hash, display_name, created_ms FROM accounts WHERE email = $1";
const BY_USER: &str = "
    SELECT email, user_id, password_hash, display_name, created_ms FROM accounts WHERE user_id = $1";
const REPLACE_PASSWORD: &str = "
    UPDATE accounts SET password_hash = $3 WHERE email = $1 AND password_hash = $2";
const ATTEMPTS: &str = "
    SELECT version, recent, failures, in_a_row, not_before_ms, blocks, blocked_until_ms, forgotten_ms
    FROM sign_in_failures WHERE identity = $1";
const FIRST: &str = "
    INSERT INTO sign_in_failures
        (identity, version, recent, failures, in_a_row, not_before_ms, blocks, blocked_until_ms, forgotten_ms)
    VALUES ($1, $2 + 1, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (identity) DO NOTHING";
const NEXT: &str = "
    UPDATE sign_in_failures SET version = version + 1, recent = $3, failures = $4, in_a_row = $5, not_before_ms = $6,
        blocks = $7, blocked_until_ms = $8, forgotten_ms = $9
    WHERE identity = $1 AND version = $2";
const FORGET: &str = "
    WITH sessions_of AS (DELETE FROM sessions WHERE user_id = $1),
         seen AS (DELETE FROM last_seen WHERE user_id = $1),
         flags AS (DELETE FROM flagged WHERE user_id = $1),
         answers AS (DELETE FROM idempotency WHERE user_id = $1),
         made AS (DELETE FROM made_spaces WHERE user_id = $1),
         entered AS (DELETE FROM user_spaces WHERE user_id = $1),
         nameless AS (UPDATE devices SET name = 'deleted', public_key = NULL WHERE user_id = $1)
    UPDATE users SET display_name = NULL WHERE user_id = $1";
const CLOSE: &str = "DELETE FROM accounts WHERE user_id = $1";
/// Others that sweep at the same time take other rows.
const SWEEP: &str = "
    DELETE FROM sign_in_failures WHERE identity IN (
        SELECT identity FROM sign_in_failures WHERE forgotten_ms <= $1 AND identity <> $2
        ORDER BY forgotten_ms LIMIT $3 FOR UPDATE SKIP LOCKED)";

#[async_trait]
impl Accounts for PostgresStore {
    async fn add_account(&self, account: AccountRecord) -> Result<bool, StoreError> {
        let AccountRecord { email, user, password_hash, display_name, created_ms } = &account;
        let created_ms = *created_ms as i64;
        let values: [(&(dyn ToSql + Sync), Type); 5] = [
            (email, Type::TEXT),
            (user, Type::TEXT),
            (password_hash, Type::TEXT),
            (display_name, Type::TEXT),
            (&created_ms, Type::INT8),
        ];
        self.primary.with(async |client| Ok(client.execute_typed(ADD, &values).await? == 1)).await
    }

    async fn account(&self, email: &str) -> Result<Option<AccountRecord>, StoreError> {
        self.primary.with(async |client| one(client, BY_EMAIL, email).await).await
    }

    async fn account_of(&self, user: &str) -> Result<Option<AccountRecord>, StoreError> {
        self.primary.with(async |client| one(client, BY_USER, user).await).await
    }

    async fn replace_password(&self, email: &str, was: &str, hash: &str) -> Result<bool, StoreError> {
        let values: [(&(dyn ToSql + Sync), Type); 3] = [(&email, Type::TEXT), (&was, Type::TEXT), (&hash, Type::TEXT)];
        self.primary.with(async |client| Ok(client.execute_typed(REPLACE_PASSWORD, &values).await? == 1)).await
    }

    async fn forget_user(&self, user: &str) -> Result<(), StoreError> {
        let of_user: [(&(dyn ToSql + Sync), Type); 1] = [(&user, Type::TEXT)];
        self.primary
            .with(async |client| {
                client.execute_typed(FORGET, &of_user).await?;
                // The directory of addresses is sharded by those.
                client.execute_typed(CLOSE, &of_user).await?;
                Ok(())
            })
            .await
    }

    async fn attempts(&self, identity: Hash) -> Result<Option<AttemptsRecord>, StoreError> {
        let identity = identity.0.as_slice();
        let found = async |client: &Session| Ok(client.query_typed(ATTEMPTS, &[(&identity, Type::BYTEA)]).await?);
        self.primary.with(found).await?.first().map(read).transpose()
    }

    async fn replace_attempts(
        &self,
        identity: Hash,
        was: Option<u64>,
        attempts: &Attempts,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let identity = identity.0.as_slice();
        let (recent, failures) = (pack(&attempts.recent), pack(&attempts.failures));
        let numbers = [
            was.unwrap_or(0),
            attempts.in_a_row.into(),
            attempts.not_before_ms,
            attempts.blocks.into(),
            attempts.blocked_until_ms,
            attempts.forgotten_ms,
        ];
        let numbers = numbers.map(|number| number as i64);
        let values: [(&(dyn ToSql + Sync), Type); 9] = [
            (&identity, Type::BYTEA),
            (&numbers[0], Type::INT8),
            (&recent, Type::BYTEA),
            (&failures, Type::BYTEA),
            (&numbers[1], Type::INT8),
            (&numbers[2], Type::INT8),
            (&numbers[3], Type::INT8),
            (&numbers[4], Type::INT8),
            (&numbers[5], Type::INT8),
        ];
        let (now_ms, swept_max) = (now_ms as i64, i64::from(FORGOTTEN_SWEEP_MAX));
        let sweep: [(&(dyn ToSql + Sync), Type); 3] =
            [(&now_ms, Type::INT8), (&identity, Type::BYTEA), (&swept_max, Type::INT8)];
        let change = if was.is_some() { NEXT } else { FIRST };
        let changed = self.primary.with(async |client| {
            let (changed, _) =
                try_join!(biased; client.execute_typed(change, &values), client.execute_typed(SWEEP, &sweep))?;
            Ok(changed)
        });
        Ok(changed.await? == 1)
    }
}

async fn one(client: &Session, select: &'static str, of: &str) -> Result<Option<AccountRecord>, StoreError> {
    let found = client.query_typed(select, &[(&of, Type::TEXT)]).await?;
    let read = |found: &Row| {
        Ok(AccountRecord {
            email: row::get(found, 0)?,
            user: row::get(found, 1)?,
            password_hash: row::get(found, 2)?,
            display_name: row::get(found, 3)?,
            created_ms: row::number(found, 4)?,
        })
    };
    found.first().map(read).transpose()
}

fn read(found: &Row) -> Result<AttemptsRecord, StoreError> {
    let times = |at: usize| unpack(row::get::<&[u8]>(found, at)?).ok_or_else(|| row::corrupt("times"));
    let small = |at: usize| u32::try_from(row::number(found, at)?).map_err(|_| row::corrupt("number"));
    let attempts = Attempts {
        recent: times(1)?,
        failures: times(2)?,
        in_a_row: small(3)?,
        not_before_ms: row::number(found, 4)?,
        blocks: small(5)?,
        blocked_until_ms: row::number(found, 6)?,
        forgotten_ms: row::number(found, 7)?,
    };
    Ok(AttemptsRecord { version: row::number(found, 0)?, attempts })
}
