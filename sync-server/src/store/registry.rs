//! What the server knows of people, devices and spaces beside the logs. Each subject is a trait of its own, and every store
//! has them all.

use super::accounts::Accounts;
use super::devices::Devices;
use super::grants::Grants;

/// All that a store keeps beside logs.
pub trait Registry: Accounts + Devices + Grants + Send + Sync + 'static {}

impl<T: Accounts + Devices + Grants + Send + Sync + 'static> Registry for T {}
