//! Taking what has arrived into open documents, and telling observers.

use std::sync::Arc;

use sync_core::id::{DocId, SpaceId};
use sync_core::version::VersionVector;

use crate::client::engine::{Begun, Merge, Swap};
use crate::client::error::ClientError;
use crate::client::observe::{Origin, Turn};
use crate::client::{Shared, lock};

/// Rounds in which copies catch up outside of the lock with what is typed meanwhile; then they do so inside.
const ROUNDS_MAX: u32 = 4;

/// Takes what has arrived into documents, on behalf of the app, and what arrived while the session found them taken.
pub(in crate::client) fn merge(
    shared: &Arc<Shared>,
    space: SpaceId,
    doc: DocId,
    forced: bool,
) -> Result<(), ClientError> {
    merge_once(shared, space, &[doc], forced)?;
    while lock(&shared.engine).behind(space).contains(&doc) {
        merge_once(shared, space, &[doc], false)?;
    }
    Ok(())
}

/// Takes what has arrived into documents, off the lock; they show it all at once, and then observers hear of it, so that
/// causes come before effects across documents. One that fails holds up no other.
pub(super) fn merge_once(
    shared: &Arc<Shared>,
    space: SpaceId,
    docs: &[DocId],
    forced: bool,
) -> Result<(), ClientError> {
    let (mut merges, mut again, mut failed) = (Vec::new(), Vec::new(), None);
    for doc in docs {
        match lock(&shared.engine).merge_begin(space, *doc, forced) {
            Ok(Begun::Nothing) => {}
            Ok(Begun::LookAgain) => again.push(*doc),
            Ok(Begun::Merge(merge)) => merges.push(*merge),
            Err(error) => failed = Some(error),
        }
    }
    for doc in again {
        shared.observers.look_again(space, doc);
        shared.collected(&lock(&shared.engine), space, doc, Turn::Changed);
    }
    finish(shared, space, merges, &mut failed);
    failed.map_or(Ok(()), Err)
}

/// Takes into a held document what a version covers.
pub(in crate::client) fn merge_through(
    shared: &Arc<Shared>,
    space: SpaceId,
    doc: DocId,
    version: &VersionVector,
) -> Result<(), ClientError> {
    let begun = lock(&shared.engine).merge_through_begin(space, doc, version)?;
    let mut failed = None;
    finish(shared, space, begun.into_iter().collect(), &mut failed);
    failed.map_or(Ok(()), Err)
}

fn finish(shared: &Arc<Shared>, space: SpaceId, mut merges: Vec<Merge>, failed: &mut Option<ClientError>) {
    let mut rounds = 0;
    while !merges.is_empty() {
        let worked: Vec<Merge> = merges.into_iter().filter_map(|merge| worked(shared, merge, failed)).collect();
        // Observers are told under the lock, so that no edit slips in front of a patch that does not know it.
        let mut engine = lock(&shared.engine);
        match engine.merge_swap(worked, rounds >= ROUNDS_MAX) {
            Swap::Again(again) => merges = again,
            Swap::Done(changed) => {
                for (doc, patches) in changed {
                    let through = engine.through(space, doc);
                    shared.collected(&engine, space, doc, Turn::Changed);
                    match patches {
                        Some(patches) => shared.observers.patches(space, doc, Origin::Remote, patches, through),
                        None => shared.observers.look_again(space, doc),
                    }
                }
                merges = Vec::new();
            }
        }
        rounds += 1;
    }
    shared.arrived.notify_all();
}

/// The merge with its work done; `None` if there is nothing left of it.
fn worked(shared: &Arc<Shared>, mut merge: Merge, failed: &mut Option<ClientError>) -> Option<Merge> {
    loop {
        match merge.work() {
            Ok(true) => return Some(merge),
            Ok(false) => {
                let anew = lock(&shared.engine).merge_anew(merge);
                merge = match anew {
                    Ok(anew) => anew?,
                    Err(error) => {
                        *failed = Some(error);
                        return None;
                    }
                };
            }
            Err(error) => {
                lock(&shared.engine).merge_failed(&merge);
                *failed = Some(error);
                return None;
            }
        }
    }
}
