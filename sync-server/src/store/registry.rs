//! What the server knows of people, devices and spaces beside the logs. Each subject is a trait of its own, and every store
//! has them all.

/// All that a store keeps beside logs.
pub trait Registry: Send + Sync + 'static {}

impl<T: Send + Sync + 'static> Registry for T {}
