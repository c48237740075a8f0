//! A code that is redeemed again while the first redemption is not done yet.

use super::*;
use crate::auth::accounts::Account;
use crate::config::{Config, OAuthClient};

use crate::Server;

const REDIRECT: &str = "http://127.0.0.1/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn desk() -> NewDevice {
    NewDevice {
        device: None,
        name: "Desk".to_owned(),
        platform: "linux".to_owned(),
        app_version: "1.0.0".to_owned(),
        public_key: None,
    }
}

/// Whether the access token of what was begun is good.
async fn is_good(app: &App, begun: &TokenResponse) -> bool {
    app.callers.verify(&begun.access_token.0).await.is_ok() && {
        let devices = app.registry.devices(&begun.user, app.clock.now_ms()).await.unwrap();
        devices.iter().any(|device| device.device == begun.device && device.signed_in)
    }
}

#[tokio::test]
async fn who_comes_second_before_the_first_is_done_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    let redirect_uris = vec![REDIRECT.to_owned()];
    config.oauth.clients = vec![OAuthClient { id: "desktop".to_owned(), name: "Notes".to_owned(), redirect_uris }];
    let server = Server::builder().config(config).data(folder.path()).build().await.unwrap();
    let app = &server.app;
    let asked = Asked {
        client: "desktop".to_owned(),
        name: "Notes".to_owned(),
        redirect: REDIRECT.parse().unwrap(),
        state: None,
        challenge: CHALLENGE.to_owned(),
    };
    let with = With::Code { redirect: REDIRECT.to_owned(), verifier: VERIFIER.to_owned() };
    for second_comes in [false, true] {
        let ann = Account { user: "ann".to_owned(), display_name: "Ann".to_owned() };
        let id = code::id(&code::give(app, &asked, ann).await.unwrap());
        let first = claim(app, None, id, "desktop", &with).await.unwrap();
        assert_eq!(first.user.as_deref(), Some("ann"));
        let begun = sessions::begin(app, None, "ann", None, desk()).await.unwrap();
        if second_comes {
            assert!(claim(app, None, id, "desktop", &with).await.is_err());
        }
        let settled = settle(app, None, id, &begun).await;
        assert_eq!(settled.is_err(), second_comes);
        assert_eq!(is_good(app, &begun).await, !second_comes);
    }
}
