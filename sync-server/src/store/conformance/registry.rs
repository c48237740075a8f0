//! What every store must do beside logs.

use std::sync::Arc;

use super::super::registry::Registry;
use super::accounts::{accounts, attempts, one_account_of_many, one_attempt_of_many};
use super::audit::{audit, audit_pages, audit_purge, flags};
use super::devices::devices;
use super::grants::{grants, one_redemption_of_many};
use super::versions::versions;

/// All of it.
pub async fn registry(store: Arc<dyn Registry>) {
    devices(Arc::clone(&store)).await;
    accounts(&*store).await;
    attempts(&*store).await;
    one_account_of_many(Arc::clone(&store)).await;
    one_attempt_of_many(Arc::clone(&store)).await;
    versions(&*store).await;
    audit(&*store).await;
    audit_pages(&*store).await;
    audit_purge(&*store).await;
    flags(&*store).await;
    grants(&*store).await;
    one_redemption_of_many(Arc::clone(&store)).await;
}
