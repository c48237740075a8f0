//! What the server knows of people, devices and spaces beside the logs. Each subject is a trait of its own, and every store
//! has them all.

use super::accounts::Accounts;
use super::audit::Audit;
use super::cluster::Cluster;
use super::devices::Devices;
use super::grants::Grants;
use super::invites::Invites;
use super::lifecycle::Lifecycle;
use super::snapshots::Snapshots;
use super::spaces::Spaces;
use super::versions::Versions;

/// All that a store keeps beside logs.
pub trait Registry:
    Accounts
    + Audit
    + Cluster
    + Devices
    + Grants
    + Invites
    + Lifecycle
    + Snapshots
    + Spaces
    + Versions
    + Send
    + Sync
    + 'static
{
}

impl<T> Registry for T where
    T: Accounts
        + Audit
        + Cluster
        + Devices
        + Grants
        + Invites
        + Lifecycle
        + Snapshots
        + Spaces
        + Versions
        + Send
        + Sync
        + 'static
{
}
