//! The server over real sockets; a module a route, as in the route table.

mod access;
mod binary;
mod events;
mod health;
mod link;
mod live;
mod seed;
mod shutdown;
mod spaces;
mod sync;
mod version;
mod world;
