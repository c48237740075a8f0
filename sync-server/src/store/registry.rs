//! What the server knows of people, devices and spaces beside the logs. Each subject is a trait of its own, and every store
//! has them all.

use super::invites::Invites;
use super::spaces::Spaces;

/// All that a store keeps beside logs.
pub trait Registry: Spaces + Invites + Send + Sync + 'static {}

impl<T: Spaces + Invites + Send + Sync + 'static> Registry for T {}
