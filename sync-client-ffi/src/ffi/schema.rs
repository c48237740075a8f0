//! Schemas of collections: declared when a client is opened, and documents that have names.

use std::sync::Arc;

use sync_core::id::SpaceId;

use super::client::RejoinClient;
use super::document::Document;
use super::edit::{EditOp, Step};
use super::error::RejoinError;
use crate::client::{Migration, Schema, SchemaVersion};

/// What the documents of a collection are made of. A version that was shipped must stay declared as it was.
#[derive(Clone, uniffi::Record)]
pub struct CollectionSchema {
    /// Of which collection.
    pub collection: String,
    /// Its versions, the first one first.
    pub versions: Vec<CollectionVersion>,
}

/// One version of a collection's schema.
#[derive(Clone, uniffi::Record)]
pub struct CollectionVersion {
    /// The maps, lists, texts, counters and first values that are new in it: the same objects on every device, so that devices
    /// which make a document offline merge.
    #[uniffi(default = [])]
    pub structure: Vec<EditOp>,
    /// From this version on, apps below that version may only read (`NewerSchema`); 0 for none.
    #[uniffi(default = 0)]
    pub writers_from: u16,
    /// What is made of an older document's content, once.
    #[uniffi(default = None)]
    pub migration: Option<Arc<dyn DocumentMigration>>,
}

/// Brings the content of a document to a newer version.
#[uniffi::export(with_foreign)]
pub trait DocumentMigration: Send + Sync {
    /// The operations for a document that is `json`, with the structure of `version` in it. Only `Put` of a plain value and
    /// `Delete` may be among them: two devices may do this at once. It must not call the client. An error leaves the document at
    /// its old version.
    fn migrate(&self, version: u16, json: String) -> Result<Vec<EditOp>, RejoinError>;
}

/// How a document stands to the app's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct SchemaState {
    /// The version that the document has; 0 without one. It may be newer than what the app declares.
    pub version: u16,
    /// The newest version that the app declares; 0 where it declares none.
    pub declared: u16,
    /// Whether the app may edit the document.
    pub may_write: bool,
}

impl From<crate::client::SchemaState> for SchemaState {
    fn from(state: crate::client::SchemaState) -> Self {
        let crate::client::SchemaState { version, declared, may_write } = state;
        Self { version, declared, may_write }
    }
}

impl TryFrom<CollectionSchema> for Schema {
    type Error = RejoinError;

    fn try_from(declared: CollectionSchema) -> Result<Self, RejoinError> {
        let mut schema = Self::new(declared.collection);
        for (number, CollectionVersion { structure, writers_from, migration }) in (1..).zip(declared.versions) {
            let steps: Vec<Step> = structure.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
            let mut version = SchemaVersion::new(|new| steps.into_iter().for_each(|step| step.write(new)));
            if let Some(migration) = migration {
                version = version.migrate(move |before, edit| migrate(&*migration, number, before, edit));
            }
            schema = schema.version(version.writers_from(writers_from));
        }
        Ok(schema)
    }
}

fn migrate(
    migration: &dyn DocumentMigration,
    version: u16,
    before: &sync_core::document::Document,
    edit: &mut Migration,
) -> Result<(), String> {
    let json = before.json(sync_core::value::Path::root()).unwrap_or_else(|| "{}".to_owned());
    for op in migration.migrate(version, json).map_err(|error| error.to_string())? {
        match Step::try_from(op).map_err(|error| error.to_string())? {
            Step::Op(op) => edit.op(op),
            Step::Move { .. } => return Err("a migration moves nothing".to_owned()),
        };
    }
    Ok(())
}

#[uniffi::export]
impl RejoinClient {
    /// Opens the document of that name in a collection, or makes it. Its id follows from space, collection and name: devices that
    /// make it offline make one and the same. What was deleted stays deleted, also under its name.
    pub fn open_or_create(&self, space: SpaceId, collection: &str, name: &str) -> Result<Arc<Document>, RejoinError> {
        let doc = self.with(|client| client.open_or_create(space, collection, name))?;
        Ok(Document::new(self.open.clone(), space, doc.id()))
    }
}

#[uniffi::export]
impl Document {
    /// How the document stands to the schema that the client was opened with.
    pub fn schema(&self) -> Result<SchemaState, RejoinError> {
        self.with(|doc| doc.schema()).map(Into::into)
    }

    /// Brings an older document to the app's version of its schema, and runs the migrations. The first edit does so by itself; who
    /// wants to read what is new before calls this.
    pub fn upgrade(&self) -> Result<SchemaState, RejoinError> {
        self.with(|doc| doc.upgrade()).map(Into::into)
    }
}
