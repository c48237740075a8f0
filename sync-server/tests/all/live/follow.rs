//! Following logs: pages, pushes and their answers, cursors.

use sync_core::feed::{Body, Item};
use sync_core::id::{Hash, SpaceId};
use sync_core::ledger::Role;
use sync_core::log::{Cursor, Verdict};
use sync_core::wire::{ItemStatus, LiveRequest, LiveResponse, Page, PullAnswer, PushAnswer};
use sync_server::auth::keys::Keys;

use crate::link::{Link, since};
use crate::world::{Phone, World, typing};

/// For each entry whether it carries what was written.
fn whole(page: &Page) -> Vec<bool> {
    assert!(page.entries.0.iter().all(|entry| entry.verdict == Verdict::Applied));
    page.entries.0.iter().map(|entry| entry.body.is_some() && entry.hash.is_some()).collect()
}

fn results(answer: &PushAnswer) -> usize {
    match answer {
        PushAnswer::Taken { results, need, .. } if need.is_empty() => results.len(),
        other => panic!("not taken: {other:?}"),
    }
}

async fn write(link: &mut Link, phone: &mut Phone, changes: usize) -> Option<Page> {
    let items = typing(phone.device, changes);
    link.push(phone.space, phone.run(items)).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn two_phones_see_each_other_type() {
    let world = World::new().await;
    let (mut ann, mut tablet) = (world.phone("ann"), world.phone("ann"));
    let space = ann.space;
    let (mut one, mut other) = (ann.link().await, tablet.link().await);
    let first = one.follow(space, None).await;
    assert_eq!((first.entries.0.len(), first.more, first.version.is_some()), (0, false, true));
    other.follow(space, None).await;

    let items = typing(ann.device, 3);
    let (answer, page) = one.push(space, ann.run(items.clone())).await;
    assert_eq!(results(&answer), 4);
    let page = page.expect("what the push added comes with its answer");
    assert_eq!(whole(&page), [false; 4], "its author has it");
    assert_eq!((page.next.seq, page.more), (4, false));
    let seen = other.page(space).await;
    let bodies: Vec<Body> = seen.entries.0.iter().filter_map(|entry| entry.body.clone()).collect();
    assert_eq!(bodies, items.into_iter().map(|item| item.body).collect::<Vec<_>>());
    assert_eq!((seen.next, seen.receipt, seen.more), (page.next, page.receipt, false));
    let keys = Keys::open(world.folder.path()).unwrap();
    assert!(keys.receipts.verify(space, &seen.next, &seen.receipt));

    let page = write(&mut other, &mut tablet, 1).await;
    assert_eq!(page.unwrap().next.seq, 6);
    assert_eq!(one.page(space).await.next.seq, 6);
}

#[tokio::test]
async fn what_came_over_http_is_seen_and_what_was_sent_twice_is_not_seen_twice() {
    let world = World::new().await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut own, mut other) = (ann.link().await, tablet.link().await);
    own.follow(ann.space, None).await;
    other.follow(ann.space, None).await;
    let items = typing(ann.device, 1);
    let run = ann.run(items);
    let request = sync_core::wire::SyncRequest {
        schema: 1,
        space: ann.space,
        push: Some(run.clone()),
        pull: None,
        snapshot: None,
    };
    ann.sync(&request).await;
    assert_eq!(whole(&own.page(ann.space).await), [false; 2], "without payload, also when it was not asked for here");
    assert_eq!(whole(&other.page(ann.space).await), [true; 2]);

    let (answer, page) = own.push(ann.space, run).await;
    assert!(page.is_none(), "a duplicate adds nothing");
    let PushAnswer::Taken { results, .. } = answer else { panic!("{answer:?}") };
    assert!(results.iter().all(|result| result.status == ItemStatus::Duplicate));
    write(&mut own, &mut ann, 1).await.expect("and the next one continues the log");
    assert_eq!(other.page(ann.space).await.next.seq, 4);
}

#[tokio::test]
async fn what_was_refused_is_seen_as_refused_by_its_author_too() {
    let world = World::new().await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut own, mut other) = (ann.link().await, tablet.link().await);
    own.follow(ann.space, None).await;
    other.follow(ann.space, None).await;
    let mut items = typing(ann.device, 1);
    items.push(Item::change(items[0].doc, Hash::of(&[b"no change"]), b"no change".to_vec()));
    let (_, page) = own.push(ann.space, ann.run(items)).await;
    let (mine, theirs) = (page.unwrap(), other.page(ann.space).await);
    assert_eq!(mine.entries.0[2], theirs.entries.0[2]);
    assert!(matches!(mine.entries.0[2].verdict, Verdict::Rejected(_)));
    assert!(mine.entries.0[2].hash.is_some(), "its hash is what the chain goes over");
}

#[tokio::test]
async fn many_spaces_over_one_connection_each_from_its_own_place() {
    let world = World::new().await;
    let store = world.server.store();
    let (mut ann, bob) = (world.phone("ann"), world.phone("bob"));
    let mut writer = ann.link().await;
    let mut spaces = Vec::new();
    for number in 1..=20 {
        let space = SpaceId::from_bytes([number; 16]);
        store.set_role(space, "ann", Some(Role::Writer)).await.unwrap();
        store.set_role(space, "bob", Some(Role::Reader)).await.unwrap();
        (ann.space, ann.head) = (space, sync_core::feed::FeedHead::start(space, ann.device));
        write(&mut writer, &mut ann, 2).await;
        spaces.push((space, ann.head));
    }
    let mut reader = bob.link().await;
    let mut cursors = Vec::new();
    for &(space, _) in &spaces {
        let page = reader.follow(space, None).await;
        assert_eq!(page.entries.0.len(), 3);
        cursors.push(page.next);
    }
    drop(reader);
    let mut reader = bob.link().await;
    for (&(space, _), cursor) in spaces.iter().zip(&cursors) {
        assert!(reader.follow(space, Some(*cursor)).await.entries.0.is_empty());
    }
    for (space, head) in spaces {
        (ann.space, ann.head) = (space, head);
        write(&mut writer, &mut ann, 1).await;
        assert_eq!(reader.page(space).await.next.seq, 5);
    }
}

#[tokio::test]
async fn the_rest_of_a_log_comes_by_itself() {
    let world = World::new().await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let mut writer = ann.link().await;
    let mut middle = None;
    for _ in 0..8 {
        let items = crate::world::pasting(ann.device, 30_000);
        let run = ann.run(items);
        writer.push(ann.space, run).await;
        if middle.is_none() {
            let page = writer.follow(ann.space, None).await;
            middle = Some(page.next);
            writer.say(&LiveRequest::Unsubscribe { space: ann.space }).await;
        }
    }
    let mut reader = tablet.link().await;
    for from in [None, middle] {
        let mut at = from.unwrap_or_else(|| Cursor::start(ann.space));
        let mut page = reader.follow(ann.space, from).await;
        let mut pages = 1;
        loop {
            at = crate::link::chained(at, &page);
            if !page.more {
                break;
            }
            assert!(page.version.is_none(), "only with the last");
            page = reader.page(ann.space).await;
            pages += 1;
        }
        assert_eq!(at.seq, 16);
        assert!(pages >= 3, "{pages}");
        assert!(page.version.is_some(), "as was asked for with the first");
    }
    write(&mut writer, &mut ann, 1).await;
    assert_eq!(reader.page(ann.space).await.next.seq, 18);
}

#[tokio::test]
async fn a_cursor_that_the_log_does_not_hold_is_not_followed() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let mut link = ann.link().await;
    let lost = Cursor { seq: 7, chain: Hash::of(&[b"lost"]) };
    let answer = link.sync(ann.space, None, Some(since(Some(lost))), true).await;
    assert_eq!(answer, (None, Some(PullAnswer::Diverged { head: Cursor::start(ann.space) })));
    assert!(write(&mut link, &mut ann, 1).await.is_none());
    assert_eq!(link.follow(ann.space, None).await.entries.0.len(), 2);
}

#[tokio::test]
async fn pulling_is_not_following_and_unsubscribing_ends_it() {
    let world = World::new().await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut writer, mut reader) = (ann.link().await, tablet.link().await);
    let (_, pulled) = reader.sync(ann.space, None, Some(since(None)), false).await;
    assert!(matches!(pulled, Some(PullAnswer::Page(page)) if page.entries.0.is_empty()));
    write(&mut writer, &mut ann, 1).await;
    reader.say(&LiveRequest::Ping { nonce: 1 }).await;
    assert_eq!(reader.hear().await, LiveResponse::Pong { nonce: 1 });
    reader.follow(ann.space, None).await;
    write(&mut writer, &mut ann, 1).await;
    assert_eq!(reader.page(ann.space).await.next.seq, 4);
    reader.say(&LiveRequest::Unsubscribe { space: ann.space }).await;
    reader.say(&LiveRequest::Ping { nonce: 2 }).await;
    assert_eq!(reader.hear().await, LiveResponse::Pong { nonce: 2 });
    write(&mut writer, &mut ann, 1).await;
    reader.say(&LiveRequest::Ping { nonce: 3 }).await;
    assert_eq!(reader.hear().await, LiveResponse::Pong { nonce: 3 });
}

#[tokio::test]
async fn a_push_and_the_page_behind_it_in_one_exchange() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let mut link = ann.link().await;
    let items = typing(ann.device, 2);
    let run = ann.run(items);
    let (push, pull) = link.sync(ann.space, Some(run), Some(since(None)), true).await;
    assert_eq!(results(&push.unwrap()), 3);
    assert!(matches!(pull, Some(PullAnswer::Page(page)) if page.next.seq == 3 && whole(&page) == [false; 3]));
    let page = write(&mut link, &mut ann, 1).await.expect("it is followed");
    assert_eq!(page.next.seq, 5);
}

#[tokio::test]
async fn pushes_that_follow_each_other_need_not_wait_for_answers() {
    let world = World::new().await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut writer, mut reader) = (ann.link().await, tablet.link().await);
    writer.follow(ann.space, None).await;
    reader.follow(ann.space, None).await;
    for _ in 0..8 {
        let items = typing(ann.device, 1);
        let run = ann.run(items);
        writer.ask(ann.space, Some(run), None, false).await;
    }
    for n in 1..=8 {
        match writer.hear().await {
            LiveResponse::Answer { push: Some(push), pull: Some(PullAnswer::Page(page)), .. } => {
                assert_eq!((push.acked().n, page.next.seq), (2 * n, 2 * n));
            }
            other => panic!("{other:?}"),
        }
    }
    let mut at = Cursor::start(ann.space);
    while at.seq < 16 {
        at = crate::link::chained(at, &reader.page(ann.space).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_writes_and_everybody_sees_everything() {
    const PHONES: u64 = 8;
    const PUSHES: u64 = 10;
    let world = World::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..PHONES {
        let mut phone = world.phone("ann");
        tasks.spawn(async move {
            let mut link = phone.link().await;
            let page = link.follow(phone.space, None).await;
            let mut at = crate::link::counted(Cursor::start(phone.space), &page);
            for _ in 0..PUSHES {
                let items = typing(phone.device, 1);
                let run = phone.run(items);
                link.ask(phone.space, Some(run), None, false).await;
            }
            while at.seq < 2 * PHONES * PUSHES {
                let page = match link.hear().await {
                    LiveResponse::Page { page, .. }
                    | LiveResponse::Answer { pull: Some(PullAnswer::Page(page)), .. } => page,
                    LiveResponse::Answer { pull: None, .. } => continue,
                    other => panic!("{other:?}"),
                };
                at = crate::link::counted(at, &page);
            }
            at
        });
    }
    let ends = tasks.join_all().await;
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
}
