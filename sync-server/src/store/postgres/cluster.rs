//! That all nodes of a database have the same keys. One with keys of its own would refuse the tokens of the others, and
//! sign receipts that they do not know; phones would find out, one by one.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::StoreError;
use super::error::PostgresError;
use super::pool::Pool;
use super::row;
use super::session::Session;
use crate::auth::keys::KeyIds;

/// The first node's keys are written down, those of all others compared.
pub(super) async fn same_keys(pool: &Pool, own: &KeyIds) -> Result<(), PostgresError> {
    let known = pool.with(async |client| known(client, own).await).await?;
    let differ = [("signing key", &own.signing, &known.signing), ("receipt key", &own.receipts, &known.receipts)];
    match differ.into_iter().find(|(_, own, known)| own != known) {
        None => Ok(()),
        Some((which, own, known)) => Err(PostgresError::OtherKeys { which, own: own.clone(), known: known.clone() }),
    }
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
    let read = |found: &Row| Ok(KeyIds { signing: row::get(found, 0)?, receipts: row::get(found, 1)? });
    found.first().map_or_else(|| Err(row::corrupt("row of keys")), read)
}
