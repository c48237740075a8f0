//! A file a route.

pub(crate) mod accounts;
pub(crate) mod body;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod form;
pub(crate) mod heal;
pub(crate) mod health;
pub(crate) mod invites;
pub(crate) mod jwks;
pub(crate) mod live;
pub(crate) mod logout;
pub(crate) mod members;
pub(crate) mod membership;
pub(crate) mod oauth_authorize;
pub(crate) mod oauth_device;
pub(crate) mod oauth_device_approve;
pub(crate) mod oauth_device_authorization;
pub(crate) mod oauth_metadata;
pub(crate) mod oauth_token;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod password;
pub(crate) mod spaces;
pub(crate) mod sync;
pub(crate) mod version;
