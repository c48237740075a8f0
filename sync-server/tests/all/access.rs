//! No route works without a token, and a token opens its user's spaces alone.

use std::time::Duration;

use reqwest::Method;
use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::Role;
use sync_core::wire::{ErrorCode, PushAnswer};
use sync_server::Caller;

use crate::world::{MSGPACK, World, client, refused, typing};

#[tokio::test]
async fn no_route_takes_a_caller_without_a_valid_token() {
    let (world, elsewhere) = (World::new().await, World::new().await);
    let caller = Caller { user: "ann".to_owned(), device: DeviceId::from_bytes([1; 16]) };
    let good = world.server.issue_token(&caller, Duration::from_mins(1)).unwrap();
    let foreign = elsewhere.server.issue_token(&caller, Duration::from_mins(1)).unwrap();
    let headers = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer abc".to_owned()),
        Some(format!("Basic {good}")),
        Some(format!("Bearer {foreign}")),
        Some("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.".to_owned()),
    ];
    let space = SpaceId::personal("ann");
    let version = format!("/v1/spaces/{space}/version");
    for (method, path) in [(Method::POST, "/v1/sync"), (Method::GET, "/v1/spaces"), (Method::GET, version.as_str())] {
        for header in &headers {
            let mut request = client().request(method.clone(), format!("http://{}{path}", world.address));
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{path} {header:?}");
            refused(response, 401, ErrorCode::Unauthorized).await;
        }
        let twice = client().request(method, format!("http://{}{path}", world.address));
        let twice = twice.bearer_auth(&good).header("authorization", "Bearer x").send().await.unwrap();
        refused(twice, 401, ErrorCode::Unauthorized).await;
    }
}

#[tokio::test]
async fn what_one_may_not_see_answers_as_what_does_not_exist() {
    let world = World::new().await;
    let (mut ann, mut eve) = (world.phone("ann"), world.phone("eve"));
    let items = typing(ann.device, 1);
    let push = ann.push(items);
    ann.sync(&push).await;
    let (there, nowhere) = (ann.space, SpaceId::from_bytes([9; 16]));
    let mut told = Vec::new();
    for space in [there, nowhere] {
        eve.space = space;
        let mut answers = Vec::new();
        answers.push(refused(eve.send(&eve.pull()).await, 404, ErrorCode::NotFound).await);
        let items = typing(eve.device, 1);
        let push = eve.push(items);
        answers.push(refused(eve.send(&push).await, 404, ErrorCode::NotFound).await);
        let version = eve.request(Method::GET, &format!("/v1/spaces/{space}/version")).send().await.unwrap();
        answers.push(refused(version, 404, ErrorCode::NotFound).await);
        told.push(answers.into_iter().map(|answer| answer.message).collect::<Vec<_>>());
    }
    assert_eq!(told[0], told[1]);
    let no_id = eve.request(Method::GET, "/v1/spaces/not-an-id/version").send().await.unwrap();
    refused(no_id, 404, ErrorCode::NotFound).await;
}

#[tokio::test]
async fn a_run_of_another_device_is_refused_as_a_whole() {
    let world = World::new().await;
    let (ann, mut tablet) = (world.phone("ann"), world.phone("ann"));
    let items = typing(tablet.device, 1);
    let push = tablet.push(items);
    refused(ann.send(&push).await, 403, ErrorCode::WrongDevice).await;
    assert!(matches!(tablet.sync(&push).await.push, Some(PushAnswer::Taken { .. })), "it consumed nothing");
}

#[tokio::test]
async fn a_member_gets_in_and_out() {
    let world = World::new().await;
    let (ann, mut bob) = (world.phone("ann"), world.phone("bob"));
    let space = SpaceId::from_bytes([5; 16]);
    bob.space = space;
    let store = world.server.store();
    store.set_role(space, "ann", Some(Role::Owner)).await.unwrap();
    store.set_role(space, "bob", Some(Role::Reader)).await.unwrap();
    assert!(bob.sync(&bob.pull()).await.pull.is_some());
    store.set_role(space, "bob", None).await.unwrap();
    refused(bob.send(&bob.pull()).await, 404, ErrorCode::NotFound).await;
    let wrong = ann.post("text/plain", Vec::new()).await;
    refused(wrong, 415, ErrorCode::UnsupportedMediaType).await;
    let squeezed = ann.request(Method::POST, "/v1/sync").header("content-type", MSGPACK);
    let squeezed = squeezed.header("content-encoding", "gzip").body(vec![0; 8]).send().await.unwrap();
    refused(squeezed, 415, ErrorCode::UnsupportedMediaType).await;
}
