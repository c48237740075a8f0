//! `GET /.well-known/oauth-authorization-server`: what libraries find out by themselves.

use serde_json::{Value, json};

use super::{DEVICE_GRANT, house};
use crate::world::{World, client};

async fn metadata(world: &World) -> Value {
    let url = format!("http://{}/.well-known/oauth-authorization-server", world.address);
    let response = client().get(url).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn it_says_where_things_are_and_what_they_take() {
    let (world, _) = house().await;
    let metadata = metadata(&world).await;
    assert_eq!(metadata["issuer"], "https://sync.example.com");
    for (name, path) in [
        ("authorization_endpoint", "/v1/oauth/authorize"),
        ("token_endpoint", "/v1/oauth/token"),
        ("device_authorization_endpoint", "/v1/oauth/device_authorization"),
    ] {
        assert_eq!(metadata[name], format!("https://sync.example.com{path}"));
    }
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(metadata["response_types_supported"], json!(["code"]));
    assert_eq!(metadata["grant_types_supported"], json!(["authorization_code", DEVICE_GRANT, "refresh_token"]));
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["none"]));
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], json!(true));
}

#[tokio::test]
async fn without_a_configured_address_it_is_where_the_server_listens() {
    let world = World::new().await;
    assert_eq!(metadata(&world).await["issuer"], "http://127.0.0.1:8787");
}
