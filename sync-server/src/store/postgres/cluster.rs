//! That all nodes of a database have the same keys. One with keys of its own would refuse the tokens of the others, and
//! sign receipts that they do not know; phones would find out, one by one.
//!
//! Signing keys follow each other, and nodes do not get them at the same moment: a node fits if the key that is written down
//! is the one it signs with, the one before or the next. What is written down only ever moves forward.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::StoreError;
use super::super::cluster::Cluster;
use super::PostgresStore;
use super::error::PostgresError;
use super::pool::Pool;
use super::row;
use super::session::Session;
use crate::auth::keys::KeyIds;

/// The first node's keys are written down, those of all others compared.
pub(super) async fn same_keys(pool: &Pool, own: &KeyIds) -> Result<(), PostgresError> {
    let known = pool.with(async |client| known(client, own).await).await?;
    let differ = |which, own: &str, known: String| PostgresError::OtherKeys { which, own: own.to_owned(), known };
    if !is_one_of(&known.signing, own) {
        return Err(differ("signing key", &own.signing, known.signing));
    }
    if known.receipts != own.receipts {
        return Err(differ("receipt key", &own.receipts, known.receipts));
    }
    if own.previous.as_ref() == Some(&known.signing) {
        pool.with(async |client| move_on(client, &[&known.signing], own).await).await?;
    }
    Ok(())
}

fn is_one_of(key: &str, keys: &KeyIds) -> bool {
    keys.signing == key || [&keys.previous, &keys.next].into_iter().any(|other| other.as_deref() == Some(key))
}

/// Takes these for the keys of all nodes.
pub(super) async fn accept_keys(pool: &Pool, own: &KeyIds) -> Result<(), PostgresError> {
    let upsert = "INSERT INTO cluster (signing_key, receipt_key) VALUES ($1, $2)
                  ON CONFLICT (one_row) DO UPDATE SET signing_key = excluded.signing_key, receipt_key = excluded.receipt_key";
    let write = pool.with(async |client| {
        Ok(client.execute_typed(upsert, &[(&own.signing, Type::TEXT), (&own.receipts, Type::TEXT)]).await?)
    });
    write.await?;
    Ok(())
}

async fn known(client: &Session, own: &KeyIds) -> Result<KeyIds, StoreError> {
    let insert = "INSERT INTO cluster (signing_key, receipt_key) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    client.execute_typed(insert, &[(&own.signing, Type::TEXT), (&own.receipts, Type::TEXT)]).await?;
    let found = client.query_typed("SELECT signing_key, receipt_key FROM cluster", &[]).await?;
    let read =
        |found: &Row| Ok(KeyIds { signing: row::get(found, 0)?, receipts: row::get(found, 1)?, ..KeyIds::default() });
    found.first().map_or_else(|| Err(row::corrupt("row of keys")), read)
}

/// From one of these to the key that signs now, unless another node did so.
async fn move_on(client: &Session, from: &[&str], own: &KeyIds) -> Result<(), StoreError> {
    let update = "UPDATE cluster SET signing_key = $1 WHERE signing_key = ANY($2) AND receipt_key = $3";
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&own.signing, Type::TEXT), (&from, Type::TEXT_ARRAY), (&own.receipts, Type::TEXT)];
    client.execute_typed(update, &values).await?;
    Ok(())
}

#[async_trait]
impl Cluster for PostgresStore {
    async fn keys_rotated(&self, before: &KeyIds, now: &KeyIds) -> Result<(), StoreError> {
        let passed = [Some(&before.signing), before.previous.as_ref(), now.previous.as_ref()];
        let passed: Vec<&str> =
            passed.into_iter().flatten().map(String::as_str).filter(|id| *id != now.signing).collect();
        let known = self.primary.with(async |client| {
            move_on(client, &passed, now).await?;
            known(client, now).await
        });
        let known = known.await?;
        if is_one_of(&known.signing, now) {
            return Ok(());
        }
        let other = format!("the signing keys of this node are not those of the others, which have {}", known.signing);
        Err(StoreError::Fault(other.into()))
    }
}
