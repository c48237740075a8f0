//! The server over real sockets; a module a route, as in the route table.

mod access;
mod audit;
mod binary;
mod events;
mod health;
mod idempotency;
mod limits;
mod link;
mod live;
mod logs;
mod metrics;
mod needs_redis;
mod observability;
mod process;
mod seed;
mod shutdown;
mod spaces;
mod sync;
mod version;
mod world;
