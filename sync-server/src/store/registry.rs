//! What the server knows of people, devices and spaces beside the logs. Each subject is a trait of its own, and every store
//! has them all.

use super::audit::Audit;

/// All that a store keeps beside logs.
pub trait Registry: Audit + Send + Sync + 'static {}

impl<T: Audit + Send + Sync + 'static> Registry for T {}
