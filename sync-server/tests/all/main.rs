//! The server over real sockets; a module a route, as in the route table.

mod access;
mod app_versions;
mod binary;
mod events;
mod health;
mod idempotency;
mod limits;
mod link;
mod live;
mod needs_redis;
mod seed;
mod shutdown;
mod spaces;
mod strict;
mod sync;
mod version;
mod world;
