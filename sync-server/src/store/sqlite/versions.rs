//! The oldest versions of apps that are served.

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior, params};

use super::super::StoreError;
use super::super::versions::{AppMinimum, MINIMUMS_MAX, Versions};
use super::SqliteStore;

fn all(connection: &Connection) -> Result<Vec<AppMinimum>, StoreError> {
    let sql = "SELECT platform, minimum, update_url FROM app_versions ORDER BY platform LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let read = statement.query_map([MINIMUMS_MAX], |row| {
        Ok(AppMinimum { platform: row.get(0)?, minimum: row.get(1)?, update_url: row.get(2)? })
    })?;
    Ok(read.collect::<Result<_, _>>()?)
}

fn set(connection: &mut Connection, minimum: &AppMinimum) -> Result<bool, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let AppMinimum { platform, minimum, update_url } = minimum;
    let others = "SELECT count(*) FROM app_versions WHERE platform <> ?1";
    let others: u32 = transaction.query_row(others, [platform], |row| row.get(0))?;
    if others >= MINIMUMS_MAX {
        return Ok(false);
    }
    let insert = "INSERT INTO app_versions (platform, minimum, update_url) VALUES (?1, ?2, ?3)
                  ON CONFLICT (platform) DO UPDATE SET minimum = excluded.minimum, update_url = excluded.update_url";
    transaction.execute(insert, params![platform, minimum, update_url])?;
    transaction.commit()?;
    Ok(true)
}

#[async_trait]
impl Versions for SqliteStore {
    async fn app_minimums(&self) -> Result<Vec<AppMinimum>, StoreError> {
        self.read(|connection| all(connection)).await
    }

    async fn set_app_minimum(&self, minimum: AppMinimum) -> Result<bool, StoreError> {
        self.write(move |connection| set(connection, &minimum)).await
    }

    async fn clear_app_minimum(&self, platform: &str) -> Result<bool, StoreError> {
        let platform = platform.to_owned();
        let delete = "DELETE FROM app_versions WHERE platform = ?1";
        self.write(move |connection| Ok(connection.execute(delete, [platform])? == 1)).await
    }
}
