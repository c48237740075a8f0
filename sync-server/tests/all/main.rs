//! The server over real sockets; a module a route, as in the route table.

mod access;
mod app_versions;
mod binary;
mod cuts;
mod devices;
mod events;
mod health;
mod idempotency;
mod limits;
mod link;
mod live;
mod needs_redis;
mod permissions;
mod provider;
mod providers;
mod refresh;
mod seed;
mod sharing;
mod shutdown;
mod spaces;
mod strict;
mod sync;
mod tokens;
mod version;
mod world;
