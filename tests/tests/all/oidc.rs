//! A user signs in at a real OpenID provider, which changes its keys; the server follows.

mod browser;

mod needs_node {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use reqwest::{Client, Response};
    use serde_json::{Value, json};
    use sync_core::wire::account::TokenResponse;
    use sync_server::config::TokenIssuer;
    use sync_server::{Clock, Config, Server};
    use sync_tests::services::oidc::Oidc;
    use tokio::net::TcpListener;

    use super::browser::{Browser, SignedIn};

    /// What the provider calls this server.
    const API: &str = "https://sync.example.com";
    /// After this, the provider may be asked for keys again.
    const MINUTE_MS: u64 = 60_000;

    /// The provider, a server that believes it, and how far the server's clock is ahead.
    struct Scene {
        provider: Oidc,
        url: String,
        client: Client,
        ahead_ms: Arc<AtomicU64>,
        _data: tempfile::TempDir,
    }

    impl Scene {
        async fn new() -> Self {
            let provider = Oidc::start(API);
            let mut config = Config::default();
            config.token.issuers = vec![TokenIssuer {
                name: "login".to_owned(),
                url: provider.issuer().to_owned(),
                client_ids: vec!["notes".to_owned()],
                access_audience: Some(API.to_owned()),
                jwks_url: None,
            }];
            let ahead_ms = Arc::new(AtomicU64::new(0));
            let clock = Clock::new({
                let ahead_ms = Arc::clone(&ahead_ms);
                move || Clock::default().now_ms() + ahead_ms.load(Ordering::Relaxed)
            });
            let data = tempfile::tempdir().unwrap();
            let server = Server::builder().config(config).data(data.path()).clock(clock).build().await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
            Self { provider, url, client: super::browser::client(), ahead_ms, _data: data }
        }

        async fn sign_in(&self) -> SignedIn {
            Browser::new(self.provider.issuer()).sign_in("ann").await
        }

        fn a_minute_passes(&self) {
            self.ahead_ms.fetch_add(MINUTE_MS, Ordering::Relaxed);
        }

        /// Registers a device for whoever the ID token is of.
        async fn register(&self, id_token: &str, nonce: &str) -> Response {
            let body = json!({
                "schema": 1,
                "proof": { "id_token": { "token": id_token, "nonce": nonce } },
                "device": { "name": "Phone", "platform": "ios", "app_version": "1.0.0" },
            });
            let request = self.client.post(format!("{}/v1/devices", self.url));
            request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
        }

        async fn registered(&self, signed_in: &SignedIn) -> TokenResponse {
            let answer = self.register(&signed_in.id_token, &signed_in.nonce).await;
            assert_eq!(answer.status(), 201);
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
        }

        /// How a call with that access token is answered.
        async fn call(&self, token: &str) -> u16 {
            let request = self.client.get(format!("{}/v1/spaces", self.url)).bearer_auth(token);
            request.send().await.unwrap().status().as_u16()
        }
    }

    #[tokio::test]
    async fn a_user_signs_in_and_the_server_follows_the_provider_s_keys() {
        let mut scene = Scene::new().await;
        let first = scene.sign_in().await;
        let device = scene.registered(&first).await;
        assert_eq!(device.user, "login:ann");
        assert_eq!(scene.call(&device.access_token.0).await, 200);
        let refused = scene.register(&first.id_token, "another").await;
        assert_eq!(refused.status(), 401, "the nonce is that of another sign-in");
        let refused: Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
        assert_eq!(refused["code"], "login_failed");
        assert_eq!(scene.call(&first.id_token).await, 401, "an ID token is no access token");
        assert_eq!(scene.register(&first.access_token, &first.nonce).await.status(), 401, "nor the other way about");
        assert_eq!(scene.call(&first.access_token).await, 401, "it names no device");

        // The provider's own access tokens, once it knows the device.
        scene.provider.name_device(&device.device.to_string());
        let first = scene.sign_in().await;
        assert_eq!(scene.call(&first.access_token).await, 200);

        // Another key, of another kind.
        assert_eq!(scene.provider.add_key().len(), 2);
        let second = scene.sign_in().await;
        assert_ne!(first.key_id(), second.key_id());
        scene.a_minute_passes();
        assert_eq!(scene.call(&second.access_token).await, 200);
        assert_eq!(scene.registered(&second).await.user, "login:ann");
        assert_eq!(scene.call(&first.access_token).await, 200, "the old key is still shown");

        // The old ones go.
        scene.provider.add_key();
        assert_eq!(scene.provider.drop_old_keys().len(), 1);
        let third = scene.sign_in().await;
        scene.a_minute_passes();
        assert_eq!(scene.call(&third.access_token).await, 200);
        for gone in [&first, &second] {
            assert_eq!(scene.call(&gone.access_token).await, 401, "its key was removed");
            assert_eq!(scene.register(&gone.id_token, &gone.nonce).await.status(), 401);
        }
        assert_eq!(scene.registered(&third).await.user, "login:ann");
        assert_eq!(scene.call(&device.access_token.0).await, 200, "our own tokens are not the provider's");
    }
}
