//! `GET /.well-known/oauth-authorization-server`: what libraries find out by themselves.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{DEVICE_GRANT, allowed, house, post, sent, with};
use crate::devices::signed_in;
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

/// RFC 9207: the `iss` of an answer is the metadata's issuer to the letter. Tokens name their own.
#[tokio::test]
async fn answers_to_browsers_are_of_its_issuer_and_tokens_of_another() {
    let (world, _) = house().await;
    let issuer = metadata(&world).await["issuer"].as_str().unwrap().to_owned();
    for answer in ["allow", "deny"] {
        let (_, sent) = sent(&post(&world, "/v1/oauth/authorize", &with(allowed(), &[("answer", answer)])).await);
        assert_eq!(sent["iss"], issuer, "{answer}");
    }
    let begun = signed_in(&world, "ann").await;
    let claims = begun.access_token.0.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["iss"], "rejoin/development");
}

#[tokio::test]
async fn without_a_configured_address_it_is_where_the_server_listens() {
    let world = World::new().await;
    assert_eq!(metadata(&world).await["issuer"], "http://127.0.0.1:8787");
}
