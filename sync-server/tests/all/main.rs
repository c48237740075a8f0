//! The server over real sockets; a module a route, as in the route table.

mod access;
mod binary;
mod health;
mod shutdown;
mod spaces;
mod sync;
mod version;
mod world;
