//! One connection, and the statements that it has prepared.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use deadpool::managed::{self, Metrics, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row, Statement};

/// A statement's parameter and its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection. A statement goes out as soon as its future is polled first, and those that are polled together go out in
/// that order: whether it is prepared or not changes nothing about that.
pub(super) struct Session {
    client: ClientWrapper,
    /// None where statements are not to be prepared.
    statements: Option<Mutex<Statements>>,
}

#[derive(Default)]
struct Statements {
    prepared: BTreeMap<Key, Statement>,
    /// Seen, and to be prepared when the connection has nothing else to do.
    seen: Vec<(&'static str, Vec<Type>)>,
}

/// Where a text is: all of them are constants of this program, so there are as many as it has.
type Key = (usize, usize);

fn key(text: &'static str) -> Key {
    (text.as_ptr() as usize, text.len())
}

fn lock(statements: &Mutex<Statements>) -> MutexGuard<'_, Statements> {
    // Nothing under this lock can panic half-way.
    statements.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// The statement, where it is prepared already; else it will be, for the next time.
    fn statement(&self, text: &'static str, parameters: &[Parameter<'_>]) -> Option<Statement> {
        let mut statements = lock(self.statements.as_ref()?);
        let known = statements.prepared.get(&key(text)).cloned();
        if known.is_none() {
            statements.seen.push((text, parameters.iter().map(|(_, of)| of.clone()).collect()));
        }
        known
    }

    /// Rows of a statement.
    pub(super) async fn query_typed(
        &self,
        text: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        match self.statement(text, parameters) {
            Some(statement) => self.client.query(&statement, &values(parameters)).await,
            None => self.client.query_typed(text, parameters).await,
        }
    }

    /// How many rows a statement changed.
    pub(super) async fn execute_typed(&self, text: &'static str, parameters: &[Parameter<'_>]) -> Result<u64, Error> {
        match self.statement(text, parameters) {
            Some(statement) => self.client.execute(&statement, &values(parameters)).await,
            None => self.client.execute_typed(text, parameters).await,
        }
    }

    /// Statements without parameters and rows.
    pub(super) async fn batch_execute(&self, text: &str) -> Result<(), Error> {
        self.client.batch_execute(text).await
    }

    /// Prepares what was seen, outside of any transaction.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        let Some(statements) = &self.statements else { return Ok(()) };
        let seen = std::mem::take(&mut lock(statements).seen);
        for (text, types) in seen {
            let known = lock(statements).prepared.contains_key(&key(text));
            if !known {
                let statement = self.client.prepare_typed(text, &types).await?;
                lock(statements).prepared.insert(key(text), statement);
            }
        }
        Ok(())
    }
}

fn values<'a>(parameters: &[Parameter<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|(value, _)| *value).collect()
}

/// Makes connections as deadpool's own manager does.
pub(super) struct Manager {
    connections: deadpool_postgres::Manager,
    /// What a session begins with, where it is this program's own; there, statements are prepared, too.
    setup: Option<String>,
}

impl Manager {
    pub(super) fn new(connections: deadpool_postgres::Manager, setup: Option<String>) -> Self {
        Self { connections, setup }
    }
}

impl managed::Manager for Manager {
    type Type = Session;
    type Error = Error;

    async fn create(&self) -> Result<Session, Error> {
        let client = managed::Manager::create(&self.connections).await?;
        if let Some(setup) = &self.setup {
            client.batch_execute(setup).await?;
        }
        Ok(Session { client, statements: self.setup.as_ref().map(|_| Mutex::default()) })
    }

    async fn recycle(&self, session: &mut Session, metrics: &Metrics) -> RecycleResult<Error> {
        managed::Manager::recycle(&self.connections, &mut session.client, metrics).await
    }
}
