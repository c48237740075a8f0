//! Taking what has arrived into open documents, and telling observers.

use std::sync::Arc;

use sync_core::document::Patch;
use sync_core::id::{DocId, SpaceId};
use sync_core::version::VersionVector;

use crate::client::engine::{Merge, MergeStep};
use crate::client::error::ClientError;
use crate::client::observe::{DocEvent, EventKind, Origin};
use crate::client::{Shared, lock};

/// Takes what has arrived into open documents, off the lock; observers hear of it when all of them have it, so that
/// causes come before effects across documents.
pub(in crate::client) fn merge(
    shared: &Arc<Shared>,
    space: SpaceId,
    docs: Vec<DocId>,
    forced: bool,
) -> Result<(), ClientError> {
    let mut changed = Vec::new();
    for doc in docs {
        let begun = lock(&shared.engine).merge_begin(space, doc, forced)?;
        if let Some(merge) = begun {
            let patches = finish(shared, merge)?;
            if !patches.is_empty() {
                changed.push((doc, patches));
            }
        }
    }
    // Under the lock, so that no edit slips in front of a patch that does not know it.
    let engine = lock(&shared.engine);
    for (doc, patches) in changed {
        shared.observers.doc(DocEvent { space, doc, origin: Origin::Remote, kind: EventKind::Patches(patches) });
    }
    drop(engine);
    shared.arrived.notify_all();
    Ok(())
}

/// Takes into a held document what a version covers.
pub(in crate::client) fn merge_through(
    shared: &Arc<Shared>,
    space: SpaceId,
    doc: DocId,
    version: &VersionVector,
) -> Result<(), ClientError> {
    let begun = lock(&shared.engine).merge_through_begin(space, doc, version)?;
    let Some(merge) = begun else { return Ok(()) };
    let patches = finish(shared, merge)?;
    let engine = lock(&shared.engine);
    if !patches.is_empty() {
        shared.observers.doc(DocEvent { space, doc, origin: Origin::Remote, kind: EventKind::Patches(patches) });
    }
    drop(engine);
    shared.arrived.notify_all();
    Ok(())
}

fn finish(shared: &Arc<Shared>, mut merge: Merge) -> Result<Vec<Patch>, ClientError> {
    let (space, doc) = (merge.space, merge.doc);
    loop {
        if let Err(error) = merge.work() {
            lock(&shared.engine).merge_failed(space, doc);
            return Err(error);
        }
        match lock(&shared.engine).merge_step(merge)? {
            MergeStep::Again(again) => merge = *again,
            MergeStep::Done(patches) => return Ok(patches),
        }
    }
}
