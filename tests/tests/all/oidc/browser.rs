//! What a user's browser and an app do to sign in at the provider: authorization code with PKCE.

use std::collections::BTreeMap;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};
use serde_json::Value;
use sync_tests::services::daemon::random;
use url::Url;

/// Where the provider sends the code. Nobody listens there: the app's system would hand it over.
const REDIRECT: &str = "com.example.notes:/signed-in";
/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Two pages, each with the ways to and from it.
const STEPS_MAX: usize = 12;

/// One that goes where it says, and nowhere by itself.
pub fn client() -> Client {
    // reqwest wants a TLS provider even where it only ever speaks plain HTTP; another test may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder().no_proxy().redirect(Policy::none()).build().unwrap()
}

/// What a sign-in gave the app.
pub struct SignedIn {
    pub id_token: String,
    pub access_token: String,
    pub nonce: String,
}

impl SignedIn {
    /// The key that signed the ID token.
    pub fn key_id(&self) -> String {
        self.id_token.split('.').next().unwrap().to_owned()
    }
}

/// A browser without any cookie.
pub struct Browser {
    client: Client,
    issuer: Url,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub fn new(issuer: &str) -> Self {
        Self { client: client(), issuer: issuer.parse().unwrap(), cookies: BTreeMap::new() }
    }

    pub async fn sign_in(mut self, user: &str) -> SignedIn {
        let nonce = format!("{:016x}", random());
        let mut authorize = self.issuer.join("/auth").unwrap();
        authorize.query_pairs_mut().extend_pairs([
            ("client_id", "notes"),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT),
            ("scope", "openid profile"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("nonce", nonce.as_str()),
        ]);
        let mut answer = self.go(Method::GET, &authorize, None).await;
        for _ in 0..STEPS_MAX {
            let to = answer.headers().get("location").unwrap_or_else(|| panic!("it leads nowhere: {answer:?}"));
            let to = self.issuer.join(to.to_str().unwrap()).unwrap();
            if to.as_str().starts_with(REDIRECT) {
                let code = to.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
                return self.exchange(&code, nonce).await;
            }
            answer = self.go(Method::GET, &to, None).await;
            if answer.status() == 200 {
                answer = self.fill_in(&to, answer, user).await;
            }
        }
        panic!("the provider goes round in circles");
    }

    /// Signs in, or consents, as the page asks.
    async fn fill_in(&mut self, page: &Url, answer: Response, user: &str) -> Response {
        let html = String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap();
        let fields = if html.contains("value=\"login\"") {
            vec![("prompt", "login"), ("login", user), ("password", "any will do")]
        } else {
            assert!(html.contains("value=\"consent\""), "{html}");
            vec![("prompt", "consent")]
        };
        self.go(Method::POST, page, Some(&fields)).await
    }

    /// The code for tokens.
    async fn exchange(&mut self, code: &str, nonce: String) -> SignedIn {
        let token = self.issuer.join("/token").unwrap();
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", "notes"),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
            ("code", code),
        ];
        let answer = self.go(Method::POST, &token, Some(&fields)).await;
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let field = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned();
        SignedIn { id_token: field("id_token"), access_token: field("access_token"), nonce }
    }

    async fn go(&mut self, method: Method, url: &Url, form: Option<&[(&str, &str)]>) -> Response {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self.client.request(method, url.clone()).header("cookie", cookies.join("; "));
        if let Some(fields) = form {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        let answer = request.send().await.unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}
