//! What the server knows of people, devices and spaces beside the logs. Each subject is a trait of its own, and every store
//! has them all.

use super::accounts::Accounts;

/// All that a store keeps beside logs.
pub trait Registry: Accounts + Send + Sync + 'static {}

impl<T: Accounts + Send + Sync + 'static> Registry for T {}
