//! One exchange with one space, however it came: who may enter, what is taken, which page is read.

use sync_core::check::Push;
use sync_core::feed::{Body, FeedHead, Item, ItemKind, Run};
use sync_core::guard;
use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::Role;
use sync_core::limits::{PAGE_CHANGES_MAX, SNAPSHOT_PART_BYTES_MAX};
use sync_core::wire::{
    Bytes, Entries, Page, Pull, PullAnswer, PushAnswer, Snapshot, SnapshotPart, SnapshotWish, Times,
};

use crate::app::App;
use crate::auth::Caller;
use crate::bus::ENTRY_BYTES;
use crate::error::ApiError;
use crate::store::snapshots::StoredSnapshot;
use crate::store::{PageAnswer, PageRequest};
use crate::telemetry::metrics;

/// Frames and runs up to this are worked on by the runtime's own threads: it takes less than moving them elsewhere, also
/// where one inflates a hundredfold.
pub(crate) const INLINE_BYTES_MAX: usize = 4 << 10;
/// And runs that claim no more operations than this: a hundred bytes may stand for a hundred thousand.
const INLINE_OPERATIONS_MAX: u64 = 512;
/// How often a snapshot's part is looked for that was just replaced.
const PART_TRIES: u32 = 3;
/// What a snapshot takes beside its bytes, about.
const SNAPSHOT_BYTES: usize = 160;
/// What an item costs whatever it carries, so that ten thousand empty ones do not count as nothing.
const ITEM_BYTES: usize = 64;

/// Lets members pass, and says what they may do. A user's personal space comes into being on its first use. What one may not see answers exactly
/// as what does not exist.
pub(crate) async fn enter(app: &App, caller: &Caller, space: SpaceId) -> Result<Role, ApiError> {
    if let Some(role) = app.store.role(space, &caller.user).await? {
        return Ok(role);
    }
    if space == SpaceId::personal(&caller.user) {
        app.store.ensure_personal(&caller.user).await?;
        return Ok(Role::Owner);
    }
    Err(away(app, caller, space).await)
}

/// Why somebody may not enter a space: those who were members when it was deleted are told that it is gone.
pub(crate) async fn away(app: &App, caller: &Caller, space: SpaceId) -> ApiError {
    match app.registry.lost_by_deletion(space, &caller.user).await {
        Ok(true) => ApiError::space_deleted(),
        Ok(false) => ApiError::not_found(),
        Err(error) => error.into(),
    }
}

/// Whether a run is of the caller's own device, and within the bounds.
pub(crate) fn admissible(run: &Run, caller: &Caller, bytes_max: usize) -> Result<(), ApiError> {
    if run.device != caller.device {
        return Err(ApiError::wrong_device());
    }
    let bytes: usize = run.items.iter().map(Item::payload_bytes).sum();
    // A change may be as large as it may be, whatever the bound of a run.
    if run.items.len() > PAGE_CHANGES_MAX || (bytes > bytes_max && run.items.len() > 1) {
        return Err(ApiError::too_large(bytes_max));
    }
    Ok(())
}

/// Checks a run, has it committed, and answers after the commit.
pub(crate) async fn take(app: &App, caller: &Caller, space: SpaceId, run: Run) -> Result<PushAnswer, ApiError> {
    let user = caller.user.clone();
    let mut push = aside(!is_short(&run), move || Push::check(user, run)).await?;
    if push.candidates.iter().any(|candidate| candidate.kind == ItemKind::Epoch) {
        push.active_since_ms = app.compactor.active_since_ms();
        app.compactor.write_places().await?;
    }
    if let Some(validator) = &app.validator {
        validator.look(space, &mut push).await?;
    }
    let answer = app.writer.submit(space, push).await?;
    metrics::pushed(&answer);
    Ok(answer)
}

/// Whether checking it takes less than a thread's hop. Looking at the headers alone parses no operation.
fn is_short(run: &Run) -> bool {
    let (mut bytes, mut operations) = (0, 0);
    run.items.iter().all(|item| {
        bytes += ITEM_BYTES + item.payload_bytes();
        if bytes > INLINE_BYTES_MAX {
            return false;
        }
        if let Body::Change { bytes } = &item.body {
            // What fails here is refused as quickly when it is checked.
            operations += guard::claimed_operations(bytes);
        }
        operations <= INLINE_OPERATIONS_MAX
    })
}

/// How much one page may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageMax {
    pub(crate) bytes: usize,
    pub(crate) changes: usize,
}

/// The page that a reader wants.
pub(crate) async fn page(
    app: &App,
    reader: DeviceId,
    space: SpaceId,
    pull: &Pull,
    max: PageMax,
) -> Result<PullAnswer, ApiError> {
    let wanted = pull.bytes_max.map_or(max.bytes, |bytes| bytes as usize);
    let request = PageRequest {
        since: pull.since,
        bytes_max: wanted.min(max.bytes),
        // What carries nothing takes room too: whoever says how large the page may be has it twice that at the most.
        changes_max: pull
            .bytes_max
            .map_or(max.changes, |bytes| (bytes as usize / sync_core::batch::ITEM_BYTES).clamp(1, max.changes)),
        reader,
        own: pull.own,
        version: pull.version,
        snapshots: pull.snapshots,
    };
    app.compactor.note_reader(space, reader, pull.since.map_or(0, |since| since.seq));
    match app.store.page(space, request).await? {
        PageAnswer::Diverged { head } => Ok(PullAnswer::Diverged { head }),
        PageAnswer::Folded => Err(ApiError::takes_no_snapshots()),
        PageAnswer::Page(page) => {
            metrics::pulled(page.entries.len(), page.payload_bytes);
            let receipt = app.receipts.sign(space, &page.next);
            let (next, more, version, snapshots) = (page.next, page.more, page.version, page.snapshots);
            let (entries, times) = (Entries(page.entries), Some(Times::of_ms(page.received_ms)));
            Ok(PullAnswer::Page(Page { entries, next, more, receipt, version, snapshots, times }))
        }
    }
}

/// The part of a snapshot that a reader wants; of the document's present one, from its beginning, where that is another one.
/// One of no size where the document has none.
pub(crate) async fn part(
    app: &App,
    space: SpaceId,
    wish: &SnapshotWish,
    bytes_max: usize,
) -> Result<SnapshotPart, ApiError> {
    let doc = wish.doc;
    // It may be replaced between the two looks, but not for ever.
    for _ in 0..PART_TRIES {
        let state = app.registry.document_state(space, doc).await?;
        let Some(StoredSnapshot { seq, hash, size, heads, .. }) = state.and_then(|state| state.snapshot) else {
            let snapshot =
                Snapshot { doc, seq: 0, hash: wish.hash, size: 0, heads: Vec::new(), bytes: None, grafts: None };
            return Ok(SnapshotPart { snapshot, offset: 0, bytes: Bytes::default() });
        };
        let offset = if wish.hash == hash && wish.offset < size { wish.offset } else { 0 };
        let part = (offset / SNAPSHOT_PART_BYTES_MAX as u64) as u32;
        let Some(bytes) = app.registry.snapshot_part(space, doc, hash, part).await? else { continue };
        let begins = (offset % SNAPSHOT_PART_BYTES_MAX as u64) as usize;
        let wanted = wish.bytes_max.map_or(bytes_max, |bytes| (bytes as usize).clamp(1, bytes_max));
        let bytes = bytes.get(begins..).unwrap_or_default();
        let bytes = Bytes(bytes[..bytes.len().min(wanted)].to_vec());
        metrics::pulled(0, bytes.0.len());
        let grafts = app.registry.grafts(space, doc).await?.map(Bytes);
        let snapshot = Snapshot { doc, seq, hash, size, heads, bytes: None, grafts };
        return Ok(SnapshotPart { snapshot, offset, bytes });
    }
    Err(ApiError::unavailable("the snapshot is being replaced"))
}

/// What a page takes in memory, about.
pub(crate) fn weigh(page: &Page) -> usize {
    let payload = page.entries.0.iter().map(|entry| entry.body.as_ref().map_or(0, Body::payload_bytes));
    let version = page.version.as_ref().map_or(0, |version| version.iter().count());
    let snapshots = page.snapshots.iter().map(|snapshot| {
        let long = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.0.len());
        SNAPSHOT_BYTES + long(&snapshot.bytes) + long(&snapshot.grafts)
    });
    payload.sum::<usize>()
        + snapshots.sum::<usize>()
        + page.entries.0.len() * ENTRY_BYTES
        + version * size_of::<(DeviceId, FeedHead)>()
}

/// The same of the answer to a pull.
pub(crate) fn weigh_answer(answer: &PullAnswer) -> usize {
    match answer {
        PullAnswer::Page(page) => weigh(page),
        PullAnswer::Diverged { .. } => 0,
    }
}

/// Work that would hold up others goes to a thread of its own.
pub(crate) async fn aside<T: Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    #[cfg(feature = "testing")]
    let long = long && !crate::store::sqlite::simulated::is_here();
    if !long {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}
