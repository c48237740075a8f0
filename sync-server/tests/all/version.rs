//! `GET /v1/spaces/{id}/version`.

use reqwest::Method;
use sync_core::feed::FeedHead;
use sync_core::log::Cursor;
use sync_core::wire::VersionResponse;

use crate::world::{World, frame, typing};

#[tokio::test]
async fn says_how_far_the_log_and_the_feeds_have_come() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let path = format!("/v1/spaces/{}/version", ann.space);
    let before: VersionResponse = frame(ann.request(Method::GET, &path).send().await.unwrap()).await;
    assert_eq!(before.head, Cursor::start(ann.space), "the personal space comes into being on its first use");
    assert_eq!(before.acked, FeedHead::start(ann.space, ann.device));
    let items = typing(ann.device, 3);
    let push = ann.push(items);
    ann.sync(&push).await;
    let tablet = world.phone("ann");
    let after: VersionResponse = frame(tablet.request(Method::GET, &path).send().await.unwrap()).await;
    assert_eq!(after.head.seq, 4);
    assert_eq!(after.device, tablet.device);
    assert_eq!(after.acked, FeedHead::start(ann.space, tablet.device));
    assert_eq!(after.version.get(ann.device), Some(ann.head));
}
