//! The store on Postgres: it conforms, alone and behind a pooler, and its schema can be sharded.

mod conformance;
mod schema;
