//! The store of many nodes: Postgres, or what speaks its language. Stateless: whatever is decided is decided under the
//! lock of a space's row, so any number of nodes may commit to the same spaces.
//!
//! Statements are sent unnamed (`query_typed`), so that a PgBouncer in transaction mode may stand before the database, unless
//! the configuration says that none does: then each connection prepares what it uses. Those of one step are sent together: a
//! group of pushes takes two round trips.

use std::time::Duration;

use async_trait::async_trait;
use sync_core::check::Push;
use sync_core::heal::Lost;
use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use sync_core::log::Cursor;

use self::pool::Pool;
use self::replica::Replica;
use super::idempotency::{Claim, ClaimToken, KeptAnswer, NewClaim, RequestKey};
use super::{Committed, Healed, PageAnswer, PageRequest, PoolLevels, SpaceVersion, Store, StoreError};
use crate::auth::keys::KeyIds;
use crate::config::Database;

mod accounts;
mod audit;
mod cluster;
mod commit;
mod devices;
mod error;
mod grants;
mod idempotency;
mod inspect;
mod invites;
mod lifecycle;
mod members;
mod pool;
mod read;
mod replica;
mod row;
mod schema;
mod session;
mod snapshots;
mod spaces;
mod versions;

pub use error::PostgresError;
pub use schema::{Migrated, migrate};

/// How long a node that starts waits for a database that starts, too.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store on Postgres.
pub struct PostgresStore {
    primary: Pool,
    replica: Option<Replica>,
}

impl PostgresStore {
    /// Connects, and makes sure that the database is one to rely on: its schema is this version's or a later one, it keeps
    /// what it acknowledges, and its other nodes have the same keys. A database that cannot be reached is waited for.
    pub async fn open(config: &Database, keys: &KeyIds) -> Result<Self, PostgresError> {
        let url = config.url.as_ref().ok_or(PostgresError::NoUrl)?;
        let primary = Pool::new(url, config)?;
        let replica = config.read_url.as_ref().map(|url| Ok::<_, PostgresError>(Replica::new(Pool::new(url, config)?)));
        let replica = replica.transpose()?;
        schema::wait_until_ready(&primary, PATIENCE).await?;
        cluster::same_keys(&primary, keys).await?;
        Ok(Self { primary, replica })
    }

    /// Takes these keys for those of all nodes, whatever they were before.
    pub async fn accept_keys(config: &Database, keys: &KeyIds) -> Result<(), PostgresError> {
        let url = config.url.as_ref().ok_or(PostgresError::NoUrl)?;
        let pool = Pool::new(url, config)?;
        cluster::accept_keys(&pool, keys).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, space: SpaceId, pushes: Vec<Push>) -> Result<Committed, StoreError> {
        self.primary.with(async |client| commit::group(client, &self.primary, space, pushes).await).await
    }

    async fn take_back(&self, space: SpaceId, lost: Vec<Lost>) -> Result<Healed, StoreError> {
        self.primary.with(async |client| commit::take_back(client, &self.primary, space, lost).await).await
    }

    async fn places(&self, space: SpaceId, seqs: Vec<u64>) -> Result<(Cursor, Vec<Cursor>), StoreError> {
        self.primary.with(async |client| read::places(client, space, &seqs).await).await
    }

    async fn page(&self, space: SpaceId, request: PageRequest) -> Result<PageAnswer, StoreError> {
        if let Some(replica) = &self.replica
            && let Some(page) = replica.page(space, &request).await
        {
            return Ok(PageAnswer::Page(page));
        }
        self.primary.with(async |client| read::page(client, space, &request).await).await
    }

    async fn version(&self, space: SpaceId) -> Result<SpaceVersion, StoreError> {
        self.primary.with(async |client| read::version(client, space).await).await
    }

    async fn heads(&self, spaces: &[SpaceId]) -> Result<Vec<(SpaceId, Cursor)>, StoreError> {
        self.primary.with(async |client| read::heads(client, spaces).await).await
    }

    async fn role(&self, space: SpaceId, user: &str) -> Result<Option<Role>, StoreError> {
        self.primary.with(async |client| members::role(client, space, user).await).await
    }

    async fn ensure_personal(&self, user: &str) -> Result<(), StoreError> {
        let space = SpaceId::personal(user);
        self.primary.with(async |client| members::ensure_owner(client, space, user).await).await
    }

    async fn set_role(&self, space: SpaceId, user: &str, role: Option<Role>) -> Result<(), StoreError> {
        self.primary.with(async |client| members::set_role(client, space, user, role).await).await
    }

    async fn spaces_of(&self, user: &str) -> Result<Vec<(SpaceId, Role)>, StoreError> {
        self.primary.with(async |client| members::spaces_of(client, user).await).await
    }

    async fn claim(&self, claim: NewClaim) -> Result<Claim, StoreError> {
        self.primary.with(async |client| idempotency::claim(client, &claim).await).await
    }

    async fn settle(
        &self,
        of: RequestKey,
        token: ClaimToken,
        answer: KeptAnswer,
        kept: Duration,
    ) -> Result<bool, StoreError> {
        self.primary.with(async |client| idempotency::settle(client, &of, token, &answer, kept).await).await
    }

    async fn release(&self, of: RequestKey, token: ClaimToken) -> Result<(), StoreError> {
        self.primary.with(async |client| idempotency::release(client, &of, token).await).await
    }

    fn pool(&self) -> Option<PoolLevels> {
        Some(self.primary.levels())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.primary.with(async |client| schema::ping(client).await).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.primary.close();
        if let Some(replica) = &self.replica {
            replica.close();
        }
        Ok(())
    }
}
