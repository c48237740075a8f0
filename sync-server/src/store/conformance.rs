//! What every store must do, as plain functions over the trait: run on each backend, also one that others use already.
//! They panic where a store does not conform.

use std::sync::Arc;

use sync_core::check::{Checked, Push};
use sync_core::code::RejectCode;
use sync_core::feed::{Body, FeedHead, Item, Run};
use sync_core::id::{ACTORS_OF_STRUCTURES, Actor, DeviceId, Hash, SpaceId};
use sync_core::ledger::Role;
use sync_core::limits::{DOCUMENT_STRUCTURES_MAX, PAGE_CHANGES_MAX};
use sync_core::log::{Cursor, Header, Verdict};
use sync_core::wire::{ItemResult, ItemStatus, PageEntry, PushAnswer};

use self::author::{Author, create, delete, new_doc, new_space, new_user, refused, structure};
use super::{LogPage, PageAnswer, PageRequest, Store, StoreError};

mod accounts;
mod audit;
mod author;
mod devices;
mod epochs;
mod exclusions;
mod grants;
mod heal;
mod idempotency;
mod lifecycle;
mod pages;
mod registry;
pub mod sharing;
mod snapshots;
mod versions;

pub use epochs::epochs;
pub use exclusions::exclusions;
pub use heal::{places, taking_back, taking_back_into_a_log_that_grew};
pub use idempotency::{idempotency, leases, one_of_many_claims};
pub use lifecycle::lifecycle;
pub use pages::{diverged_cursors, pages_and_budgets, times};
pub use registry::registry;
pub use snapshots::snapshots;

/// All of it, but for what needs the store to be opened again.
pub async fn all(store: Arc<dyn Store>) {
    let plain = &*store;
    verdicts(plain).await;
    duplicates(plain).await;
    groups(plain).await;
    dependencies(plain).await;
    structures(plain).await;
    roles(plain).await;
    deletion(plain).await;
    texts(plain).await;
    members(plain).await;
    pages_and_budgets(plain).await;
    times(plain).await;
    diverged_cursors(plain).await;
    taking_back(plain).await;
    taking_back_into_a_log_that_grew(plain).await;
    places(plain).await;
    idempotency(plain).await;
    leases(plain).await;
    one_of_many_claims(Arc::clone(&store)).await;
    many_writers(store).await;
}

/// A space with an owner, and that owner's first device.
async fn space(store: &dyn Store) -> (SpaceId, Author) {
    let (space, user) = (new_space(), new_user());
    store.set_role(space, &user, Some(Role::Owner)).await.expect("a new space");
    (space, Author::new(space, &user))
}

async fn commit(store: &dyn Store, space: SpaceId, push: Push) -> PushAnswer {
    let mut committed = store.commit(space, vec![push]).await.expect("a commit");
    assert_eq!(committed.answers.len(), 1, "one answer a push");
    committed.answers.remove(0)
}

fn taken(answer: PushAnswer) -> (FeedHead, Vec<ItemResult>, Vec<Hash>) {
    match answer {
        PushAnswer::Taken { acked, results, need } => (acked, results, need),
        other => panic!("not taken: {other:?}"),
    }
}

fn applied(seq: u64) -> ItemResult {
    ItemResult { seq, status: ItemStatus::Applied, code: None }
}

fn rejected(seq: u64, code: RejectCode) -> ItemResult {
    ItemResult { seq, status: ItemStatus::Rejected, code: Some(code) }
}

fn duplicate(of: ItemResult) -> ItemResult {
    ItemResult { status: ItemStatus::Duplicate, ..of }
}

async fn page(store: &dyn Store, space: SpaceId, request: PageRequest) -> LogPage {
    match store.page(space, request).await.expect("a page") {
        PageAnswer::Page(page) => page,
        PageAnswer::Diverged { head } => panic!("diverged at {head:?}"),
        PageAnswer::Folded => panic!("payloads are gone"),
    }
}

fn everything(reader: DeviceId) -> PageRequest {
    let (bytes_max, changes_max) = (usize::MAX, PAGE_CHANGES_MAX);
    PageRequest { since: None, bytes_max, changes_max, reader, own: true, version: true, snapshots: None }
}

/// The chain over what a reader got is the chain that the store keeps.
fn chained(space: SpaceId, entries: &[PageEntry]) -> Cursor {
    entries.iter().fold(Cursor::start(space), |at, entry| {
        let PageEntry { id, kind, doc, verdict, .. } = *entry;
        let hash = entry.hash.expect("whole entries");
        at.next(&Header { id, kind, doc, hash, verdict })
    })
}

/// One push may hold what is applied, what is refused, and what has to wait.
pub async fn verdicts(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let (doc, unknown) = (new_doc(), Hash::of(&[b"unknown"]));
    let first = ann.change(doc, 1, 1, &[]);
    let after_first = first.hash;
    let candidates = vec![
        create(doc),
        first,
        refused(doc, RejectCode::NotCanonical),
        ann.change(doc, 3, 2, &[after_first]),
        ann.change(new_doc(), 1, 1, &[]),
        ann.change(doc, 2, 9, &[after_first]),
        ann.change(doc, 2, 2, &[after_first, unknown]),
        create(new_doc()),
    ];
    let push = ann.push(candidates);
    let links = push.links.clone();
    let committed = store.commit(space, vec![push]).await.expect("a commit");
    let (acked, results, need) = taken(committed.answers[0].clone());
    let expected = vec![
        applied(1),
        applied(2),
        rejected(3, RejectCode::NotCanonical),
        rejected(4, RejectCode::SequenceGap),
        rejected(5, RejectCode::UnknownDocument),
        rejected(6, RejectCode::StartOperation),
    ];
    assert_eq!(results, expected);
    assert_eq!(need, [unknown], "the run stops before what depends on it");
    assert_eq!(acked, FeedHead { n: 6, chain: links[5] });
    assert_eq!(committed.before, Cursor::start(space));
    assert_eq!(committed.head.seq, 6);
    assert_eq!(committed.entries.len(), 6);

    let page = page(store, space, everything(DeviceId::from_random(author::random()))).await;
    assert_eq!(page.next, committed.head);
    assert_eq!(chained(space, &page.entries), committed.head);
    let bodies = page.entries.iter().map(|entry| (entry.verdict == Verdict::Applied, entry.body.is_some()));
    assert!(bodies.clone().all(|(applied, carries)| applied == carries), "what was refused carries nothing");
    assert_eq!(page.version.expect("at the end").get(ann.device), Some(acked));
    assert_eq!(store.version(space).await.expect("a version").head, committed.head);
    let heads = store.heads(&[new_space(), space]).await.expect("heads");
    assert_eq!(heads, [(space, committed.head)], "of those that exist");
}

/// The dedupe rule: what was sent before is answered as it was, and moves nothing.
pub async fn duplicates(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let (start, doc) = (ann.clone(), new_doc());
    let candidates = vec![create(doc), refused(doc, RejectCode::TooDeep), ann.change(doc, 1, 1, &[])];
    let push = ann.push(candidates.clone());
    let (acked, results, _) = taken(commit(store, space, push.clone()).await);
    let before = store.version(space).await.expect("a version");

    let again = taken(commit(store, space, push.clone()).await);
    assert_eq!(again.0, acked);
    assert_eq!(again.1, results.iter().copied().map(duplicate).collect::<Vec<_>>());
    assert_eq!(store.version(space).await.expect("a version"), before, "a duplicate moves nothing");

    let late = start.clone().push(candidates[..1].to_vec());
    assert_eq!(commit(store, space, late).await, PushAnswer::Behind { acked });

    let mut other = start.clone();
    let fork = other.push(vec![create(new_doc()), create(new_doc()), create(new_doc())]);
    assert_eq!(commit(store, space, fork).await, PushAnswer::Forked { acked });

    let mut ahead = ann.clone();
    ahead.push(vec![create(new_doc())]);
    let gap = ahead.push(vec![create(new_doc())]);
    assert_eq!(commit(store, space, gap).await, PushAnswer::Gap { acked });

    let mut longer = candidates;
    longer.push(create(new_doc()));
    let (_, results, _) = taken(commit(store, space, start.clone().push(longer)).await);
    assert_eq!(results.len(), 4);
    assert_eq!(results[1], duplicate(rejected(2, RejectCode::TooDeep)));
    assert_eq!(results[3], applied(4), "the rest of a longer run is fresh");
}

/// What a schema brings comes from several devices: everybody's feed has it, it counts once, and it is built upon whoever brought it.
/// It takes none of the actors that a device may have.
pub async fn structures(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let mut bob = Author::new(space, &ann.user);
    let doc = new_doc();
    let first = structure(doc, 1, None);
    let second = structure(doc, 2, Some(first.hash));
    let both = [create(doc), first, second.clone()];
    let of_ann = ann.push([both.as_slice(), &[ann.change(doc, 1, 3, &[second.hash])]].concat());
    let (_, results, need) = taken(commit(store, space, of_ann).await);
    assert_eq!((results, need), (vec![applied(1), applied(2), applied(3), applied(4)], vec![]));
    let of_bob = bob.push([both.as_slice(), &[bob.change(doc, 1, 3, &[second.hash])]].concat());
    let committed = store.commit(space, vec![of_bob]).await.expect("a commit");
    assert!(committed.entries.iter().all(|entry| entry.header.verdict == Verdict::Applied));
    let page = page(store, space, everything(DeviceId::from_random(author::random()))).await;
    assert_eq!(page.entries.len(), 8);
    assert!(page.entries.iter().all(|entry| entry.body.is_some()), "in everybody's feed");
    assert_eq!(chained(space, &page.entries), committed.head);

    // Structures have bounds of their own, and a device's actors have theirs.
    let many: Vec<_> = (3..=DOCUMENT_STRUCTURES_MAX).map(|number| structure(doc, number as u8, None)).collect();
    let push = ann.push(many);
    let (_, results, _) = taken(commit(store, space, push).await);
    assert!(results.iter().all(|result| result.status == ItemStatus::Applied));
    let push = ann.push(vec![structure(doc, 0, None), ann.change(doc, 2, 4, &[ann.change(doc, 1, 3, &[]).hash])]);
    let (_, results, _) = taken(commit(store, space, push).await);
    assert_eq!(results[1].code, None);
    assert_eq!(results[0].code, None, "as many as there may be");
    let mut one_more = structure(doc, 0, None);
    if let Checked::Change(facts, _) = &mut one_more.checked {
        facts.actor =
            Actor::from_slice(&[ACTORS_OF_STRUCTURES.as_slice(), &[0x55, 0xaa].repeat(6)].concat()).expect("an actor");
    }
    one_more.hash = Hash::of(&[b"one more"]);
    let push = bob.push(vec![one_more]);
    let (_, results, _) = taken(commit(store, space, push).await);
    assert_eq!(results[0].code, Some(RejectCode::DocumentActorsQuota));
}

/// Several pushes of several devices in one commit, one of them sent twice, one built on another's.
pub async fn groups(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let mut bob = Author::new(space, &ann.user);
    let doc = new_doc();
    let first = ann.change(doc, 1, 1, &[]);
    let on_first = bob.change(doc, 1, 2, &[first.hash]);
    let (of_ann, of_bob) = (ann.push(vec![create(doc), first]), bob.push(vec![on_first]));
    let further = ann.push(vec![create(new_doc())]);
    let pushes = vec![of_ann.clone(), of_bob, of_ann, further];
    let committed = store.commit(space, pushes).await.expect("a commit");
    let answers: Vec<_> = committed.answers.into_iter().map(taken).collect();
    assert_eq!(answers[0].1, [applied(1), applied(2)]);
    assert_eq!(answers[1].1, [applied(3)], "bob's change knows ann's of the same group");
    assert_eq!(answers[2].1, [duplicate(applied(1)), duplicate(applied(2))]);
    assert_eq!(answers[2].0.n, 2, "what this push reached, not what a later one did");
    assert_eq!(answers[3].1, [applied(4)]);
    let entries: Vec<u64> = committed.entries.iter().map(|entry| entry.at.seq).collect();
    assert_eq!(entries, [1, 2, 3, 4]);
    assert_eq!(store.version(space).await.expect("a version").feeds.get(bob.device), Some(bob.head));
}

/// What later commits are judged against is what earlier ones left.
pub async fn dependencies(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let mut bob = Author::new(space, &ann.user);
    let doc = new_doc();
    let first = ann.change(doc, 1, 1, &[]);
    let bad = refused(doc, RejectCode::Validation);
    let (first_hash, bad_hash) = (first.hash, bad.hash);
    let push = ann.push(vec![create(doc), first, bad]);
    taken(commit(store, space, push).await);

    let candidates = vec![
        bob.change(doc, 1, 3, &[first_hash]),
        bob.change(doc, 1, 2, &[first_hash, bad_hash]),
        bob.change(doc, 1, 2, &[first_hash]),
    ];
    let push = bob.push(candidates);
    let (_, results, _) = taken(commit(store, space, push).await);
    assert_eq!(results[0].code, Some(RejectCode::StartOperation));
    assert_eq!(results[1].code, Some(RejectCode::DependencyRefused));
    assert_eq!(results[2].status, ItemStatus::Applied);

    // Its declared hash is in the log twice, refused and applied: applied counts.
    let of_bob = bob.change(doc, 1, 2, &[]).hash;
    let candidates = vec![ann.change(doc, 2, 3, &[of_bob]), ann.change(doc, 2, 3, &[first_hash, of_bob])];
    let push = ann.push(candidates);
    let (_, results, need) = taken(commit(store, space, push).await);
    assert_eq!(results[0].code, Some(RejectCode::AuthorDependency));
    assert_eq!(results[1].status, ItemStatus::Applied);
    assert!(need.is_empty());
}

/// Texts that a database may not hold are refused before it, and harm no neighbour; all others are held as they are.
pub async fn texts(store: &dyn Store) {
    let (space, ann) = space(store).await;
    let names = ["a\0b", "\0", "ünïcode ✓ \u{10ffff}", "'; DROP TABLE log; --", "\\x00", " "];
    let items = names.map(|name| Item::create(new_doc(), name.to_owned())).to_vec();
    let run = Run { device: ann.device, base: ann.head, items };
    let (acked, results, _) = taken(commit(store, space, Push::check(ann.user.clone(), run)).await);
    assert_eq!(acked.n, names.len() as u64);
    for (name, result) in names.iter().zip(&results) {
        let refused = name.contains('\0').then_some(RejectCode::Malformed);
        assert_eq!(result.code, refused, "{name:?}");
    }
    let page = page(store, space, everything(DeviceId::from_random(author::random()))).await;
    let held = page.entries.iter().filter_map(|entry| match &entry.body {
        Some(Body::Create { collection }) => Some(collection.as_str()),
        _ => None,
    });
    assert_eq!(held.collect::<Vec<_>>(), names[2..]);
}

/// A reader's items are refused one by one; the feed goes on, and works again with the role.
pub async fn roles(store: &dyn Store) {
    let (space, _) = space(store).await;
    let user = new_user();
    store.set_role(space, &user, Some(Role::Reader)).await.expect("a role");
    let mut eve = Author::new(space, &user);
    let push = eve.push(vec![create(new_doc()), create(new_doc())]);
    let (acked, results, _) = taken(commit(store, space, push).await);
    assert_eq!(results, [rejected(1, RejectCode::NotAWriter), rejected(2, RejectCode::NotAWriter)]);
    assert_eq!(acked.n, 2);
    store.set_role(space, &user, Some(Role::Writer)).await.expect("a role");
    let push = eve.push(vec![create(new_doc())]);
    assert_eq!(taken(commit(store, space, push).await).1, [applied(3)]);
}

/// Deletion wins, for good.
pub async fn deletion(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let doc = new_doc();
    let push = ann.push(vec![create(doc), delete(doc)]);
    taken(commit(store, space, push).await);
    let candidates = vec![ann.change(doc, 1, 1, &[]), create(doc), delete(doc)];
    let push = ann.push(candidates);
    let (_, results, _) = taken(commit(store, space, push).await);
    assert!(results.iter().all(|result| result.code == Some(RejectCode::DocumentDeleted)), "{results:?}");
    let page = page(store, space, everything(ann.device)).await;
    assert_eq!(page.entries[1].body, Some(Body::Delete));
}

/// Who may enter.
pub async fn members(store: &dyn Store) {
    let (user, nowhere) = (new_user(), new_space());
    let personal = SpaceId::personal(&user);
    assert_eq!(store.role(personal, &user).await.expect("a role"), None);
    assert_eq!(store.spaces_of(&user).await.expect("spaces"), []);
    for _ in 0..2 {
        store.ensure_personal(&user).await.expect("a personal space");
    }
    assert_eq!(store.role(personal, &user).await.expect("a role"), Some(Role::Owner));
    let shared = new_space();
    store.set_role(shared, &user, Some(Role::Reader)).await.expect("a role");
    let mut expected = vec![(personal, Role::Owner), (shared, Role::Reader)];
    expected.sort_unstable();
    assert_eq!(store.spaces_of(&user).await.expect("spaces"), expected);
    store.set_role(shared, &user, None).await.expect("a role");
    assert_eq!(store.role(shared, &user).await.expect("a role"), None);

    let push = Author::new(nowhere, &user).push(vec![create(new_doc())]);
    assert!(matches!(store.commit(nowhere, vec![push]).await, Err(StoreError::UnknownSpace)));
    assert!(matches!(store.version(nowhere).await, Err(StoreError::UnknownSpace)));
    let request = everything(DeviceId::from_random(author::random()));
    assert!(matches!(store.page(nowhere, request).await, Err(StoreError::UnknownSpace)));
    store.set_role(nowhere, &user, None).await.expect("nothing to end is no error");
    assert!(matches!(store.version(nowhere).await, Err(StoreError::UnknownSpace)), "and makes no space");
    store.ping().await.expect("a store that answers");
}

/// Fifty devices at once: the log has no hole, and each change once.
pub async fn many_writers(store: Arc<dyn Store>) {
    const WRITERS: usize = 50;
    const PUSHES: usize = 10;
    let (space, ann) = space(&*store).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (store, mut author) = (Arc::clone(&store), Author::new(space, &ann.user));
        tasks.spawn(async move {
            for _ in 0..PUSHES {
                let push = author.push(vec![create(new_doc())]);
                taken(commit(&*store, space, push).await);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a writer");
    }
    let page = page(&*store, space, everything(ann.device)).await;
    assert_eq!(page.entries.len(), WRITERS * PUSHES);
    assert_eq!(page.next.seq as usize, WRITERS * PUSHES);
    assert_eq!(chained(space, &page.entries), page.next);
    assert_eq!(page.version.expect("at the end").iter().count(), WRITERS);
}

/// A store that has no room left, once `fill` is done: the push is not acknowledged, not even in part, and reading goes on.
pub async fn full(store: &dyn Store, fill: impl AsyncFnOnce()) {
    let (space, mut ann) = space(store).await;
    fill().await;
    let doc = new_doc();
    let change = ann.change_of(doc, 1, 1, &[], 1 << 20);
    let push = ann.push(vec![create(doc), change]);
    for _ in 0..2 {
        let refused = store.commit(space, vec![push.clone()]).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        let version = store.version(space).await.expect("a version");
        assert_eq!(version.head, Cursor::start(space));
        assert_eq!(version.feeds.iter().count(), 0);
    }
}

/// What must be found again after the store was closed, or killed, and opened.
pub struct Memory {
    space: SpaceId,
    push: Push,
    answer: PushAnswer,
    head: Cursor,
}

/// Writes something to remember.
pub async fn remember(store: &dyn Store) -> Memory {
    let (space, mut ann) = space(store).await;
    let doc = new_doc();
    let candidates = vec![create(doc), ann.change(doc, 1, 1, &[]), refused(doc, RejectCode::TooDeep), delete(doc)];
    let push = ann.push(candidates);
    let answer = commit(store, space, push.clone()).await;
    Memory { space, push, answer, head: store.version(space).await.expect("a version").head }
}

/// Finds it again.
pub async fn recall(store: &dyn Store, memory: Memory) {
    let Memory { space, push, answer, head } = memory;
    assert_eq!(store.version(space).await.expect("a version").head, head);
    let (acked, results, _) = taken(answer);
    let again = taken(commit(store, space, push.clone()).await);
    assert_eq!(again.0, acked);
    assert_eq!(again.1, results.into_iter().map(duplicate).collect::<Vec<_>>());
    let page = page(store, space, everything(push.device)).await;
    assert_eq!(chained(space, &page.entries), head);
}
