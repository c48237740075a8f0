//! What Postgres says, as what it means: come again, or something is wrong. Its texts are for logs alone.

use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use super::super::{Cause, StoreError};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No URL.
    #[error("no database: set database.url, DATABASE_URL or --database-url")]
    NoUrl,
    /// The URL cannot be read.
    #[error("the database's URL is not of the form postgres://user:password@host:port/name?sslmode=require")]
    Url,
    /// The file with certificate authorities cannot be read.
    #[error("database.ca_file {path}: {error}", path = path.display())]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: String,
    },
    /// TLS cannot be set up.
    #[error("TLS to the database: {0}")]
    Tls(String),
    /// Connections cannot be pooled.
    #[error("the pool of database connections: {0}")]
    Pool(#[source] Cause),
    /// The database cannot be reached, or does not do what it should.
    #[error("the database: {0}")]
    Database(#[source] Cause),
    /// The schema has yet to be brought to this version.
    #[error("the database's schema is at version {found}, this server needs {needed}: run `sync-server migrate`")]
    Schema {
        /// What it is; 0 where there is none.
        found: i32,
        /// What it must be at least.
        needed: i32,
    },
    /// The database may lose what it has acknowledged.
    #[error("the database runs with {setting} = off, and so loses acknowledged changes in a crash: turn it on")]
    NotDurable {
        /// Which setting.
        setting: String,
    },
    /// A migration failed.
    #[error("the database cannot be migrated: {0}")]
    Migration(#[from] refinery::Error),
    /// Other nodes of this database have other keys.
    #[error(
        "this node's {which} is {own}, that of the other nodes of this database is {known}: give all nodes the same key \
         files, or, if the keys were replaced on purpose, run `sync-server migrate --accept-keys` with the new ones"
    )]
    OtherKeys {
        /// Which key.
        which: &'static str,
        /// This node's.
        own: String,
        /// What the database has.
        known: String,
    },
}

impl From<StoreError> for PostgresError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) | StoreError::Fault(cause) => Self::Database(cause),
            other => Self::Database(other.into()),
        }
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(state) = error.code() else {
            // Not the database's answer: there was none.
            return Self::Unavailable(text(&error));
        };
        match state {
            // A lock that was waited for too long, or a transaction that another one got in the way of.
            &SqlState::LOCK_NOT_AVAILABLE
            | &SqlState::QUERY_CANCELED
            | &SqlState::T_R_SERIALIZATION_FAILURE
            | &SqlState::T_R_DEADLOCK_DETECTED => Self::Busy,
            // It stops or starts, was promoted or demoted, is full, or a pooler cannot reach it.
            &SqlState::READ_ONLY_SQL_TRANSACTION | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
                Self::Unavailable(text(&error))
            }
            state if is_passing(state.code()) => Self::Unavailable(text(&error)),
            _ => Self::Fault(text(&error)),
        }
    }
}

/// By the class of the code: connections, insufficient resources, intervention of the operator, the system's own errors, who
/// may log in (passwords are rotated), and databases that are not there (yet).
fn is_passing(code: &str) -> bool {
    ["08", "53", "57", "58", "28", "3D"].iter().any(|class| code.starts_with(class))
}

/// The whole story: the error itself only says "db error".
pub(super) fn text(error: &tokio_postgres::Error) -> Cause {
    if let Some(of_database) = error.as_db_error() {
        return format!("{} ({})", of_database.message(), of_database.code().code()).into();
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default()).into()
}
