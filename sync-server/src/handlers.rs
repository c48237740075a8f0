//! A file a route.

pub(crate) mod body;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod invites;
pub(crate) mod live;
pub(crate) mod members;
pub(crate) mod openapi;
pub(crate) mod spaces;
pub(crate) mod sync;
pub(crate) mod version;
