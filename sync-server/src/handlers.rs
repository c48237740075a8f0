//! A file a route.

pub(crate) mod accounts;
pub(crate) mod body;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod form;
pub(crate) mod health;
pub(crate) mod invites;
pub(crate) mod jwks;
pub(crate) mod live;
pub(crate) mod logout;
pub(crate) mod members;
pub(crate) mod oauth_token;
pub(crate) mod openapi;
pub(crate) mod password;
pub(crate) mod spaces;
pub(crate) mod sync;
pub(crate) mod version;
