//! Tokens that run out, and newer ones.

use std::time::Duration;

use sync_core::wire::{AccessToken, CloseCode, LiveRequest, LiveResponse};
use sync_server::{Caller, Config};

use crate::link::Link;
use crate::world::{Phone, World};

fn token(world: &World, phone: &Phone, user: &str, lifetime: Duration) -> AccessToken {
    let caller = Caller { user: user.to_owned(), device: phone.device };
    AccessToken(world.server.issue_token(&caller, lifetime).unwrap())
}

/// A connection whose token holds for two seconds.
async fn short(world: &World, phone: &mut Phone) -> Link {
    phone.token = token(world, phone, "ann", Duration::from_secs(2)).0;
    let (mut link, welcome) = phone.greeted().await;
    assert!(welcome.token_expires_in_ms <= 2_000);
    assert!(matches!(link.hear().await, LiveResponse::TokenExpires { in_ms } if in_ms <= 2_000), "it runs out soon");
    link
}

#[tokio::test]
async fn a_connection_ends_with_its_token() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let mut link = short(&world, &mut ann).await;
    assert_eq!(link.closed().await, CloseCode::Unauthorized);
}

#[tokio::test]
async fn a_newer_token_keeps_it_open() {
    let mut config = Config::default();
    config.live.heartbeat_ms = 100;
    let world = World::with(config).await;
    let mut ann = world.phone("ann");
    let mut link = short(&world, &mut ann).await;
    link.say(&LiveRequest::Token { token: token(&world, &ann, "ann", Duration::from_mins(10)) }).await;
    assert!(matches!(link.hear().await, LiveResponse::Renewed { expires_in_ms } if expires_in_ms > 500_000));
    // Past the end of the first one.
    for _ in 0..25 {
        assert!(matches!(link.hear_any().await, LiveResponse::Beat { .. }));
    }
    link.say(&LiveRequest::Ping { nonce: 1 }).await;
    assert_eq!(link.hear().await, LiveResponse::Pong { nonce: 1 });
    link.say(&LiveRequest::Token { token: token(&world, &ann, "ann", Duration::from_secs(30)) }).await;
    assert!(matches!(link.hear().await, LiveResponse::Renewed { expires_in_ms } if expires_in_ms <= 30_000));
    assert!(matches!(link.hear().await, LiveResponse::TokenExpires { .. }), "a shorter one counts, too");
}

#[tokio::test]
async fn a_token_of_somebody_else_ends_it() {
    let world = World::new().await;
    let (ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let long = Duration::from_mins(10);
    let wrong = [
        token(&world, &ann, "bob", long),
        token(&world, &tablet, "ann", long),
        AccessToken("abc".to_owned()),
        AccessToken(String::new()),
    ];
    for token in wrong {
        let mut link = ann.link().await;
        link.say(&LiveRequest::Token { token }).await;
        assert_eq!(link.closed().await, CloseCode::Unauthorized);
    }
}
