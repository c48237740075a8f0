//! The rules of refresh tokens, in a few lines, as a model to hold clients against: each is good once; the very last one may
//! be repeated for half a minute and gives the same successor; an older one is theft, and ends the session.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sync_client_ffi::{DeviceId, Hash};
use sync_core::wire::ErrorCode;
use sync_core::wire::account::TokenResponse;

use super::{Answers, Asked, refusal};

/// How long the very last one may be repeated.
const REPEAT_MS: u64 = 30_000;

/// A server's side of one session.
pub struct Rules {
    user: String,
    device: DeviceId,
    /// Access tokens hold for so long.
    lifetime: Duration,
    /// The device's public key, in base64url.
    key: Option<String>,
    now_ms: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    n: u64,
    rotated_ms: u64,
    ended: bool,
    presented: Vec<Presented>,
}

/// What became of a token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// It was the current one.
    Rotated,
    /// It was the very last one again.
    Repeated,
    /// It was an older one.
    Theft,
    /// The session had ended.
    Ended,
}

impl Rules {
    /// A session whose first refresh token is out.
    pub fn new(user: &str, device: DeviceId, lifetime: Duration) -> Self {
        let (user, now_ms, state) = (user.to_owned(), AtomicU64::new(0), Mutex::default());
        Self { user, device, lifetime, key: None, now_ms, state }
    }

    /// The same for a device that registered a key: it may repeat the very last one at any time, if it proves who it is.
    #[must_use]
    pub fn with_key(self, key: String) -> Self {
        Self { key: Some(key), ..self }
    }

    fn is_proved(&self, asked: &Asked) -> bool {
        let (Some(key), Some(proof)) = (&self.key, asked.field("proof")) else { return false };
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
        let token = asked.field("refresh_token").unwrap_or_default();
        let signed = [&b"rejoin refresh repeat\0"[..], &Hash::of(&[token.as_bytes()]).0].concat();
        UnparsedPublicKey::new(&ED25519, decoded(key)).verify(&signed, &decoded(&proof)).expect("a proof");
        true
    }

    /// Lets time pass at the server.
    pub fn pass(&self, time: Duration) {
        self.now_ms.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// Ends the session.
    pub fn end(&self) {
        self.lock().ended = true;
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// What was presented so far.
    pub fn presented(&self) -> Vec<Presented> {
        self.lock().presented.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tokens that are out, as sign-in gave them.
    pub fn tokens(&self, access: impl Fn(u64) -> String) -> TokenResponse {
        self.response(self.lock().n, access)
    }

    fn response(&self, n: u64, access: impl Fn(u64) -> String) -> TokenResponse {
        TokenResponse {
            access_token: access(n).as_str().into(),
            token_type: "Bearer".to_owned(),
            expires_in: self.lifetime.as_secs(),
            refresh_token: format!("rjr_{n}").as_str().into(),
            refresh_expires_in: 30 * 86_400,
            user: self.user.clone(),
            device: self.device,
        }
    }

    /// Answers `POST /v1/oauth/token`; `access` mints the access token of that number.
    pub fn answer(&self, asked: &Asked, access: impl Fn(u64) -> String) -> Answers {
        assert_eq!(asked.line(), "POST /v1/oauth/token");
        assert_eq!(asked.field("grant_type").as_deref(), Some("refresh_token"));
        assert_eq!(asked.field("device_id"), Some(self.device.to_string()));
        let presented = asked.field("refresh_token").and_then(|token| token.strip_prefix("rjr_")?.parse::<u64>().ok());
        let is_proved = self.is_proved(asked);
        let now_ms = self.now_ms.load(Ordering::SeqCst);
        let mut state = self.lock();
        let presented = match presented {
            _ if state.ended => Presented::Ended,
            Some(n) if n == state.n => {
                (state.n, state.rotated_ms) = (n + 1, now_ms);
                Presented::Rotated
            }
            Some(n) if n + 1 == state.n && (is_proved || now_ms - state.rotated_ms <= REPEAT_MS) => Presented::Repeated,
            _ => {
                state.ended = true;
                Presented::Theft
            }
        };
        state.presented.push(presented);
        let n = state.n;
        drop(state);
        match presented {
            Presented::Rotated | Presented::Repeated => Answers::json(200, &self.response(n, access)),
            Presented::Theft | Presented::Ended => ended(),
        }
    }
}

/// RFC 6749's refusal of a refresh token, with our code beside it.
fn ended() -> Answers {
    let refusal = refusal(ErrorCode::SessionEnded);
    let body = serde_json::json!({
        "error": "invalid_grant",
        "error_description": refusal.message,
        "code": refusal.code,
        "message": refusal.message,
        "request_id": refusal.request_id,
    });
    Answers::json(400, &body)
}
