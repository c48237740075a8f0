//! Folding what has become old in the store, off the app's thread and the connection's.

use std::sync::Arc;

use sync_core::id::{DocId, SpaceId};

use crate::client::engine::Engine;
use crate::client::error::ClientError;
use crate::client::{Shared, lock};

/// Looks a space through, and folds the documents that are worth it. The lock is free while a snapshot is made.
pub(super) fn fold_aged(shared: &Arc<Shared>, space: SpaceId) {
    match fold_all(shared, space) {
        // What was not folded now is with the document's next change that has become old.
        Ok(()) | Err(ClientError::NoSpace | ClientError::DiskFull) => {}
        Err(error) => tracing::warn!(%error, "old changes stay as they are for now"),
    }
}

fn fold_all(shared: &Arc<Shared>, space: SpaceId) -> Result<(), ClientError> {
    // Each time further along the log, so this ends.
    loop {
        let aged = lock(&shared.engine).aged(space)?;
        let Some(docs) = aged else { return Ok(()) };
        for doc in docs {
            fold(shared, space, doc)?;
        }
    }
}

fn fold(shared: &Arc<Shared>, space: SpaceId, doc: DocId) -> Result<(), ClientError> {
    let begun = lock(&shared.engine).fold_begin(space, doc)?;
    let Some(folding) = begun else { return Ok(()) };
    match folding.work() {
        Ok(folded) => {
            let end = |engine: &mut Engine| engine.fold_end(&folding, &folded);
            end(&mut lock(&shared.engine)).map(drop)
        }
        // A document that is whole without a snapshot stays so.
        Err(error) => {
            tracing::warn!(%doc, %error, "a document is not folded");
            Ok(())
        }
    }
}
