//! The server over real sockets; a module a route, as in the route table.

mod access;
mod accounts;
mod binary;
mod companions;
mod cuts;
mod devices;
mod events;
mod health;
mod idempotency;
mod limits;
mod link;
mod live;
mod needs_redis;
mod operators;
mod refresh;
mod seed;
mod shutdown;
mod spaces;
mod sync;
mod version;
mod world;
