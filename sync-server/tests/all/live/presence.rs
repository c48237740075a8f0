//! Who shows itself, to whom, and for how long.

use serde_bytes::ByteBuf;
use sync_core::id::SpaceId;
use sync_core::limits::{PRESENCE_BYTES_MAX, PRESENCE_PER_SECOND_MAX, PRESENCE_TTL_MAX_MS};
use sync_core::wire::{LiveRequest, LiveResponse, Peer};

use crate::link::Link;
use crate::world::World;

async fn show(link: &mut Link, space: SpaceId, data: &[u8], ttl_ms: u32) {
    let data = Some(ByteBuf::from(data));
    link.say(&LiveRequest::Presence { space, data, ttl_ms }).await;
}

async fn leave(link: &mut Link, space: SpaceId) {
    link.say(&LiveRequest::Presence { space, data: None, ttl_ms: 0 }).await;
}

/// The one peer of the next presence.
async fn peer(link: &mut Link, space: SpaceId) -> Peer {
    match link.hear().await {
        LiveResponse::Presence { space: of, mut peers } if of == space && peers.len() == 1 => peers.remove(0),
        other => panic!("not one peer of {space}: {other:?}"),
    }
}

/// Returns when everything that the link said has been worked on, with what it heard until then.
async fn settled(link: &mut Link) -> Vec<LiveResponse> {
    link.say(&LiveRequest::Ping { nonce: 77 }).await;
    let mut heard = Vec::new();
    loop {
        match link.hear().await {
            LiveResponse::Pong { nonce: 77 } => return heard,
            other => heard.push(other),
        }
    }
}

fn data(peer: &Peer) -> Option<&[u8]> {
    peer.data.as_ref().map(|data| &data[..])
}

#[tokio::test]
async fn others_see_it_come_change_and_go() {
    let world = World::new().await;
    let (ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let space = ann.space;
    let (mut one, mut other) = (ann.link().await, tablet.link().await);
    one.follow(space, None).await;
    other.follow(space, None).await;
    for shown in [&b"here"[..], b"there"] {
        show(&mut one, space, shown, 30_000).await;
        let peer = peer(&mut other, space).await;
        assert_eq!((peer.user.as_str(), peer.device, data(&peer)), ("ann", ann.device, Some(shown)));
        assert!((1..=30_000).contains(&peer.ttl_ms));
    }
    assert_eq!(settled(&mut one).await, [], "one does not see oneself");
    leave(&mut one, space).await;
    let left = peer(&mut other, space).await;
    assert_eq!((left.device, data(&left), left.ttl_ms), (ann.device, None, 0));
}

#[tokio::test]
async fn who_comes_later_sees_who_is_there() {
    let world = World::new().await;
    let (ann, bob, tablet) = (world.phone("ann"), world.phone("ann"), world.phone("ann"));
    let space = ann.space;
    let (mut one, mut two) = (ann.link().await, bob.link().await);
    one.follow(space, None).await;
    two.follow(space, None).await;
    show(&mut one, space, b"one", u32::MAX).await;
    peer(&mut two, space).await;
    show(&mut two, space, b"two", 1_000).await;
    peer(&mut one, space).await;
    let mut late = tablet.link().await;
    late.follow(space, None).await;
    let LiveResponse::Presence { peers, .. } = late.hear().await else { panic!("no presence") };
    let mut shown: Vec<_> = peers.iter().map(|peer| (peer.device, data(peer).unwrap())).collect();
    shown.sort_unstable();
    let mut expected = [(ann.device, &b"one"[..]), (bob.device, b"two")];
    expected.sort_unstable();
    assert_eq!(shown, expected);
    assert!(peers.iter().all(|peer| u64::from(peer.ttl_ms) <= PRESENCE_TTL_MAX_MS), "whatever they wished for");
}

#[tokio::test]
async fn it_runs_out() {
    let world = World::new().await;
    let (ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let mut one = ann.link().await;
    one.follow(ann.space, None).await;
    show(&mut one, ann.space, b"briefly", 1).await;
    settled(&mut one).await;
    let mut late = tablet.link().await;
    loop {
        late.follow(ann.space, None).await;
        let heard = settled(&mut late).await;
        late.say(&LiveRequest::Unsubscribe { space: ann.space }).await;
        let later = settled(&mut late).await;
        if heard.is_empty() && later.is_empty() {
            break;
        }
    }
}

#[tokio::test]
async fn it_ends_with_its_connection_and_with_following() {
    let world = World::new().await;
    let (ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let space = ann.space;
    let mut other = tablet.link().await;
    other.follow(space, None).await;
    for unsubscribes in [true, false] {
        let mut one = ann.link().await;
        one.follow(space, None).await;
        show(&mut one, space, b"here", 60_000).await;
        assert!(peer(&mut other, space).await.data.is_some());
        if unsubscribes {
            one.say(&LiveRequest::Unsubscribe { space }).await;
        } else {
            drop(one);
        }
        assert_eq!(data(&peer(&mut other, space).await), None);
    }
}

#[tokio::test]
async fn the_end_of_an_old_connection_does_not_take_back_what_the_new_one_shows() {
    let world = World::new().await;
    let (ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let space = ann.space;
    let (mut old, mut new, mut other) = (ann.link().await, ann.link().await, tablet.link().await);
    for link in [&mut old, &mut new, &mut other] {
        link.follow(space, None).await;
    }
    show(&mut old, space, b"old", 60_000).await;
    assert_eq!(data(&peer(&mut other, space).await), Some(&b"old"[..]));
    show(&mut new, space, b"new", 60_000).await;
    assert_eq!(data(&peer(&mut other, space).await), Some(&b"new"[..]));
    old.socket.close(None).await.unwrap();
    while futures_util::StreamExt::next(&mut old.socket).await.is_some() {}
    show(&mut new, space, b"still here", 60_000).await;
    assert_eq!(data(&peer(&mut other, space).await), Some(&b"still here"[..]), "and nothing in between");
}

#[tokio::test]
async fn what_is_shown_too_often_arrives_late_but_arrives() {
    let world = World::new().await;
    let (ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut one, mut other) = (ann.link().await, tablet.link().await);
    one.follow(ann.space, None).await;
    other.follow(ann.space, None).await;
    for number in 0..200_u8 {
        show(&mut one, ann.space, &[number], 60_000).await;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&199) {
        seen.push(data(&peer(&mut other, ann.space).await).unwrap()[0]);
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.len() <= 2 * PRESENCE_PER_SECOND_MAX as usize, "{}", seen.len());
}

#[tokio::test]
async fn what_is_too_large_or_not_followed_is_dropped_and_nothing_else_is() {
    let world = World::new().await;
    let (ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let elsewhere = SpaceId::personal("bob");
    let (mut one, mut other) = (ann.link().await, tablet.link().await);
    one.follow(ann.space, None).await;
    other.follow(ann.space, None).await;
    show(&mut one, ann.space, &[0; PRESENCE_BYTES_MAX + 1], 60_000).await;
    show(&mut one, elsewhere, b"in", 60_000).await;
    leave(&mut one, elsewhere).await;
    show(&mut one, ann.space, &[1; PRESENCE_BYTES_MAX], 60_000).await;
    assert_eq!(data(&peer(&mut other, ann.space).await), Some(&[1; PRESENCE_BYTES_MAX][..]));
    assert_eq!(settled(&mut one).await, []);
}

#[tokio::test]
async fn it_is_never_stored() {
    let world = World::new().await;
    let (ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut one, mut other) = (ann.link().await, tablet.link().await);
    one.follow(ann.space, None).await;
    other.follow(ann.space, None).await;
    show(&mut one, ann.space, b"a mark to look for", 60_000).await;
    peer(&mut other, ann.space).await;
    drop((one, other));
    let folder = {
        let mut world = world;
        world.stop();
        world.stopped().await
    };
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(18).any(|window| window == b"a mark to look for"));
    }
}
