//! `GET /v1/spaces`.

use reqwest::Method;
use sync_core::id::SpaceId;
use sync_core::ledger;
use sync_core::wire::account::{Role, SpaceOfCaller, SpacesResponse};

use crate::world::{World, frame};

#[tokio::test]
async fn lists_what_the_caller_may_enter_and_no_more() {
    let world = World::new().await;
    let ann = world.phone("ann");
    ann.sync(&ann.pull()).await;
    let (shared, foreign) = (SpaceId::from_bytes([3; 16]), SpaceId::from_bytes([4; 16]));
    world.server.store().set_role(shared, "ann", Some(ledger::Role::Reader)).await.unwrap();
    world.server.store().set_role(foreign, "bob", Some(ledger::Role::Owner)).await.unwrap();
    let mut expected = vec![
        SpaceOfCaller { space: shared, role: Role::Reader, name: None },
        SpaceOfCaller { space: ann.space, role: Role::Owner, name: None },
    ];
    expected.sort_by_key(|entry| entry.space);
    for accept in ["application/json", "application/msgpack", "*/*"] {
        let request = ann.request(Method::GET, "/v1/spaces").header("accept", accept);
        let answer: SpacesResponse = frame(request.send().await.unwrap()).await;
        assert_eq!(answer.spaces, expected, "{accept}");
    }
}
