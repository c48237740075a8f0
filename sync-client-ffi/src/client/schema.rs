//! Schemas of collections as the app declares them, and bringing documents to a newer version.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync_core::document::{Document, EditError, Op};
use sync_core::id::{DocId, SpaceId};
use sync_core::limits::DOCUMENT_NAME_BYTES_MAX;
use sync_core::structure::{self, SchemaError};
use sync_core::value::{Path, Value};

use super::doc::Edit;
use super::edits::EditState;
use super::error::ClientError;
use super::moving::EditStep;
use super::observe::{Origin, Turn};
use super::{Client, Doc};

/// What the documents of a collection are made of, version by version.
///
/// Each version declares the maps, lists, texts, counters and first values that are new in it. They are the same objects on every
/// device, so two devices that make the same document offline merge. A version that was shipped must stay declared as it was.
///
/// ```
/// use sync_client_ffi::{Schema, SchemaVersion, Value};
///
/// let tasks = Schema::new("tasks")
///     .version(SchemaVersion::new(|new| {
///         new.put("title", "").put("notes", Value::Text(String::new())).put("items", Value::List(vec![]));
///     }))
///     // Later: a field has another name. Older apps go on with the one that they know.
///     .version(SchemaVersion::new(|_| {}).migrate(|before, edit| {
///         if let Some(title) = before.get("title") {
///             edit.put("name", title);
///         }
///         Ok(())
///     }));
/// # drop(tasks);
/// ```
#[derive(Clone)]
#[must_use = "a schema does nothing before a client is opened with it"]
pub struct Schema {
    collection: String,
    versions: Vec<SchemaVersion>,
}

/// One version of a [`Schema`].
#[derive(Clone, Default)]
#[must_use = "a version does nothing before it is part of a schema"]
pub struct SchemaVersion {
    operations: Vec<Op>,
    moves: Option<Path>,
    writers_from: u16,
    migrate: Option<Arc<Migrate>>,
}

type Migrate = dyn Fn(&Document, &mut Migration) -> Result<(), String> + Send + Sync;

/// What a migration writes: nothing but what comes to the same where two devices do it at once.
#[derive(Debug, Default)]
pub struct Migration {
    ops: Vec<Op>,
}

impl Migration {
    /// Sets a key of a map, or replaces an element of a list. Maps, lists, texts and counters are none of a migration's affairs
    /// (two devices would make two of them): the version's structure makes them.
    pub fn put(&mut self, path: impl Into<Path>, value: impl Into<Value>) -> &mut Self {
        self.op(Op::Put { path: path.into(), value: value.into() })
    }

    /// Removes a key of a map, or an element of a list. What older apps still write there is lost with it.
    pub fn delete(&mut self, path: impl Into<Path>) -> &mut Self {
        self.op(Op::Delete { path: path.into() })
    }

    pub(crate) fn op(&mut self, op: Op) -> &mut Self {
        self.ops.push(op);
        self
    }
}

impl SchemaVersion {
    /// A version that brings this; nothing, where only what content means is another thing.
    pub fn new(build: impl FnOnce(&mut Edit)) -> Self {
        let mut edit = Edit::default();
        build(&mut edit);
        let mut version = Self::default();
        for step in edit.into_steps() {
            match step {
                EditStep::Op(op) => version.operations.push(op),
                EditStep::Move { list, .. } => version.moves = Some(list),
            }
        }
        version
    }

    /// From this version on, apps below that version of the schema may only read ([`NewerSchema`](ClientError::NewerSchema)). By
    /// default all go on to write. What they wrote before they met this version is still merged.
    pub fn writers_from(mut self, version: u16) -> Self {
        self.writers_from = version;
        self
    }

    /// What is made of the content of an older document, once, when it is first [upgraded](Doc::upgrade): the function sees the
    /// document with the new structure in it. It must not call the client, and may be called again if the document changes
    /// meanwhile. An error leaves the document at its old version.
    pub fn migrate(
        mut self,
        migrate: impl Fn(&Document, &mut Migration) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.migrate = Some(Arc::new(migrate));
        self
    }
}

impl Schema {
    /// Of a collection, without any version yet.
    pub fn new(collection: impl Into<String>) -> Self {
        Self { collection: collection.into(), versions: Vec::new() }
    }

    /// The next version.
    pub fn version(mut self, version: SchemaVersion) -> Self {
        self.versions.push(version);
        self
    }
}

/// How a document stands to the app's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaState {
    /// The version that the document has; 0 without one. It may be newer than what the app declares.
    pub version: u16,
    /// The newest version that the app declares; 0 where it declares none.
    pub declared: u16,
    /// Whether the app may edit the document: it is not too old for it.
    pub may_write: bool,
}

/// A schema whose structures are made.
pub(super) struct Declared {
    pub(super) schema: structure::Schema,
    migrations: Vec<Option<Arc<Migrate>>>,
}

pub(super) type Schemas = BTreeMap<String, Arc<Declared>>;

/// Makes the structures. A later declaration of a collection takes the place of an earlier one.
pub(super) fn declare(schemas: Vec<Schema>) -> Result<Schemas, SchemaError> {
    let mut declared = Schemas::new();
    for Schema { collection, versions } in schemas {
        let (mut made, mut migrations) = (Vec::with_capacity(versions.len()), Vec::with_capacity(versions.len()));
        for (at, SchemaVersion { operations, moves, writers_from, migrate }) in versions.into_iter().enumerate() {
            if let Some(path) = moves {
                let version = u16::try_from(at + 1).unwrap_or(u16::MAX);
                return Err(SchemaError::Operation { version, error: EditError::Refused { path } });
            }
            made.push(structure::Version { operations, writers_from });
            migrations.push(migrate);
        }
        let schema = structure::Schema::new(&collection, &made)?;
        declared.insert(collection, Arc::new(Declared { schema, migrations }));
    }
    Ok(declared)
}

impl Declared {
    /// Has the app say what a version makes of a document's content.
    pub(super) fn migrated(&self, version: u16, document: &Document) -> Result<Vec<Op>, ClientError> {
        let Some(Some(migrate)) = self.migrations.get(usize::from(version) - 1) else { return Ok(Vec::new()) };
        let failed = |why: String| {
            let collection = self.schema.collection().to_owned();
            ClientError::Migration { collection, version, why }
        };
        let mut migration = Migration::default();
        migrate(document, &mut migration).map_err(failed)?;
        match migration.ops.iter().find(|op| !structure::is_repeatable(op)) {
            Some(op) => {
                Err(failed(format!("what it does at {} would be there twice where two devices do it", op.path())))
            }
            None => Ok(migration.ops),
        }
    }
}

impl Client {
    /// Opens the document of that name in a collection, or makes it. Its id follows from space, collection and name, so devices
    /// that make it offline make one and the same; with a [schema](super::ClientBuilder::schema) what is in it is the same, too. A
    /// document that was deleted stays deleted, also under its name.
    ///
    /// ```no_run
    /// # fn f(client: &sync_client_ffi::Client) -> Result<(), sync_client_ffi::ClientError> {
    /// let settings = client.open_or_create(client.personal_space(), "settings", "app")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_or_create(&self, space: SpaceId, collection: &str, name: &str) -> Result<Doc, ClientError> {
        if !(1..=DOCUMENT_NAME_BYTES_MAX).contains(&name.len()) {
            return Err(ClientError::BadName(DOCUMENT_NAME_BYTES_MAX));
        }
        let id = DocId::named(space, collection, name);
        let made = {
            let mut engine = self.engine();
            let made = engine.create_named(space, collection, id)?;
            if made {
                self.shared.collected(&engine, space, id, Turn::Added);
            }
            made
        };
        if made {
            self.shared.observers.listed(space);
            self.shared.inbox.edited(space);
        }
        self.open_doc(space, id)
    }
}

impl Doc {
    /// How the document stands to the schema that the client was opened with.
    pub fn schema(&self) -> Result<SchemaState, ClientError> {
        self.with(|open, document| {
            let declared = open.schema.as_ref().map_or(0, |declared| declared.schema.version());
            SchemaState { version: document.schema_version(), declared, may_write: document.writers_from() <= declared }
        })
    }

    /// Brings an older document to the app's version of its schema: adds what newer versions declare, and runs their migrations.
    /// The first edit of a document does so by itself; who wants to read what is new before calls this. All of it is on disk
    /// when this returns, or nothing is.
    pub fn upgrade(&self) -> Result<SchemaState, ClientError> {
        self.upgraded()?;
        self.schema()
    }

    pub(super) fn upgraded(&self) -> Result<(), ClientError> {
        loop {
            let Some(mut upgrade) = self.client.engine().upgrade_begin(self.space, self.id)? else { return Ok(()) };
            // The app's own code, so not under the lock.
            upgrade.work()?;
            let mut engine = self.client.engine();
            let Some((edit, patches)) = engine.upgrade_commit(self.space, self.id, upgrade)? else { continue };
            let through = engine.through(self.space, self.id);
            let shared = &self.client.shared;
            shared.observers.patches(self.space, self.id, Origin::Local, patches, through);
            if let Some((first, last)) = edit {
                shared.observers.edits(self.space, self.id, first, last, EditState::Local);
            }
            shared.collected(&engine, self.space, self.id, Turn::Changed);
            drop(engine);
            shared.inbox.edited(self.space);
            return Ok(());
        }
    }
}
