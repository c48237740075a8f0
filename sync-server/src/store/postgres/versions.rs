//! The oldest versions of apps that are served.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::StoreError;
use super::super::versions::{AppMinimum, MINIMUMS_MAX, Versions};
use super::{PostgresStore, row};

const ALL: &str = "SELECT platform, minimum, update_url FROM app_versions ORDER BY platform LIMIT $1";
/// Operators who set two new platforms at once, at the bound, may get past it by one; reading stays bounded.
const SET: &str = "
    INSERT INTO app_versions (platform, minimum, update_url)
    SELECT $1, $2, $3 WHERE (SELECT count(*) FROM app_versions WHERE platform <> $1) < $4
    ON CONFLICT (platform) DO UPDATE SET minimum = excluded.minimum, update_url = excluded.update_url";
const CLEAR: &str = "DELETE FROM app_versions WHERE platform = $1";

fn read(found: &Row) -> Result<AppMinimum, StoreError> {
    Ok(AppMinimum { platform: row::get(found, 0)?, minimum: row::get(found, 1)?, update_url: row::get(found, 2)? })
}

#[async_trait]
impl Versions for PostgresStore {
    async fn app_minimums(&self) -> Result<Vec<AppMinimum>, StoreError> {
        let max = i64::from(MINIMUMS_MAX);
        let all = async |client: &super::session::Session| Ok(client.query_typed(ALL, &[(&max, Type::INT8)]).await?);
        self.primary.with(all).await?.iter().map(read).collect()
    }

    async fn set_app_minimum(&self, minimum: AppMinimum) -> Result<bool, StoreError> {
        let AppMinimum { platform, minimum, update_url } = &minimum;
        let max = i64::from(MINIMUMS_MAX);
        let set = async |client: &super::session::Session| {
            let values: [super::session::Parameter<'_>; 4] =
                [(platform, Type::TEXT), (minimum, Type::TEXT), (update_url, Type::TEXT), (&max, Type::INT8)];
            Ok(client.execute_typed(SET, &values).await? == 1)
        };
        self.primary.with(set).await
    }

    async fn clear_app_minimum(&self, platform: &str) -> Result<bool, StoreError> {
        self.primary.with(async |client| Ok(client.execute_typed(CLEAR, &[(&platform, Type::TEXT)]).await? == 1)).await
    }
}
