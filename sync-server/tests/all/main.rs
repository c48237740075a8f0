//! The server over real sockets; a module a route, as in the route table.

mod access;
mod binary;
mod events;
mod health;
mod idempotency;
mod limits;
mod link;
mod live;
mod needs_redis;
mod permissions;
mod seed;
mod sharing;
mod shutdown;
mod spaces;
mod sync;
mod timing;
mod version;
mod world;
