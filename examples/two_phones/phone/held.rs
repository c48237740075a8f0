//! Typing upon exactly the state that the writer of a concurrent trace saw.

use std::error::Error;

use sync_client_ffi::{Client, Doc, DocId, Hold, SpaceId, VersionVector};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Opens a document; what has arrived beside this device's own work waits.
pub fn open(client: &Client, space: SpaceId, id: DocId) -> Result<(Doc, Hold)> {
    Ok(client.open_doc_held(space, id)?)
}

/// Takes in what that version covers of what has arrived, and nothing else.
pub fn merge_through(hold: &Hold, version: &VersionVector) -> Result<()> {
    Ok(hold.merge_through(version)?)
}
