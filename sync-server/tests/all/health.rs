//! `/healthz`, `/readyz`, and what is no route.

use reqwest::Method;
use sync_core::wire::ErrorCode;

use crate::world::{World, client, refused};

#[tokio::test]
async fn both_are_well_without_a_token() {
    let world = World::new().await;
    for path in ["healthz", "readyz"] {
        let response = client().get(format!("http://{}/{path}", world.address)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_server_whose_store_is_gone_is_alive_but_not_ready() {
    let world = World::new().await;
    world.server.store().close().await.unwrap();
    let phone = world.phone("ann");
    assert_eq!(phone.request(Method::GET, "/healthz").send().await.unwrap().status(), 200);
    refused(phone.request(Method::GET, "/readyz").send().await.unwrap(), 503, ErrorCode::Unavailable).await;
    let error = refused(phone.send(&phone.pull()).await, 503, ErrorCode::Unavailable).await;
    assert!(!error.message.contains("store"), "internals stay inside: {}", error.message);
}

#[tokio::test]
async fn unknown_routes_and_methods_have_codes() {
    let world = World::new().await;
    let phone = world.phone("ann");
    for path in ["/", "/v1", "/v1/nothing", "/v2/sync", "/v1/spaces/x/y/z"] {
        refused(phone.request(Method::GET, path).send().await.unwrap(), 404, ErrorCode::NotFound).await;
    }
    let wrong = phone.request(Method::GET, "/v1/sync").send().await.unwrap();
    refused(wrong, 405, ErrorCode::MethodNotAllowed).await;
    let wrong = phone.request(Method::DELETE, "/v1/spaces").header("accept", "application/msgpack").send().await;
    refused(wrong.unwrap(), 405, ErrorCode::MethodNotAllowed).await;
}
