//! Access tokens of our own: JWTs signed with ES256, of type `at+jwt`, that name a user and a device.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, encode};
use serde::{Deserialize, Serialize};
use sync_core::id::DeviceId;

use super::jwt::{self, ACCESS_TYPE, is_user};
use super::keys::{KeyIds, SigningKeys};
use crate::clock::Clock;
use crate::config;
use crate::store::devices::SessionId;

pub use super::jwt::Caller;

/// A token of ours has about 400 bytes; what is longer is not parsed.
pub(super) const TOKEN_BYTES_MAX: usize = 4_096;
/// Tokens hold from a minute before they are made: clocks of nodes differ, and the one that is asked next may be behind.
const CLOCKS_DIFFER_S: u64 = 60;

/// Who issued a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuedBy {
    /// This server's environment.
    Us,
    /// A configured provider. Nobody here has seen the device that it names.
    Provider,
}

/// What a valid token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whom it names.
    pub caller: Caller,
    /// The session that it was issued in; `None` for a token that was issued without one.
    pub session: Option<SessionId>,
    /// Until when, in seconds since 1970.
    pub expires_s: u64,
    /// Whose word it is.
    pub issued_by: IssuedBy,
}

impl Access {
    /// Whether its device must be one that is registered here. Our own key may name others, for development.
    pub(crate) fn must_be_registered(&self) -> bool {
        self.issued_by == IssuedBy::Provider
    }

    /// How long it still holds, by a clock in milliseconds since 1970.
    pub fn left(&self, now_ms: u64) -> Duration {
        Duration::from_secs(self.expires_s).saturating_sub(Duration::from_millis(now_ms))
    }
}

/// A token that is not taken. Callers are told no more than that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any that is taken.
    #[error("a token too long to be one")]
    Long,
    /// No configured issuer's.
    #[error("a token of an unknown issuer")]
    Issuer,
    /// An ID token where an access token belongs, or the other way about.
    #[error("a token of another type")]
    Type,
    /// Not an algorithm that its issuer signs with here.
    #[error("a token with an algorithm that is not taken")]
    Algorithm,
    /// It brings a key, or extensions.
    #[error("a token whose header brings a key or extensions")]
    Header,
    /// No key of its issuer.
    #[error("a token of an unknown key")]
    Key,
    /// For somebody else.
    #[error("a token for another audience")]
    Audience,
    /// Its time is over.
    #[error("an expired token")]
    Expired,
    /// Its time has not come.
    #[error("a token that does not hold yet")]
    Early,
    /// Signature or form are wrong.
    #[error("{}", reason(.0))]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// The user's name is empty or too long.
    #[error("a user's name has 1 to 255 bytes, none of them zero")]
    User,
}

/// Without what the library quotes of the token: it goes to the log.
fn reason(error: &jsonwebtoken::errors::Error) -> String {
    use jsonwebtoken::errors::ErrorKind as Kind;
    match error.kind() {
        Kind::Json(_) | Kind::Base64(_) | Kind::Utf8(_) => "malformed token".to_owned(),
        _ => error.to_string(),
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    device: DeviceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    iat: u64,
    nbf: u64,
    exp: u64,
}

/// Issues tokens, and checks them.
pub struct Tokens {
    keys: RwLock<SigningKeys>,
    issuer: String,
    audience: String,
    clock: Clock,
}

impl Tokens {
    /// With those keys, for that issuer, environment and audience.
    pub fn new(keys: impl Into<SigningKeys>, config: &config::Token) -> Self {
        Self {
            keys: RwLock::new(keys.into()),
            issuer: config.own_issuer(),
            audience: config.audience.clone(),
            clock: Clock::default(),
        }
    }

    /// By another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Who we are, as tokens name us.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The keys of now.
    pub fn keys(&self) -> SigningKeys {
        // What is behind the lock is replaced as a whole.
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes these keys from now on; whether they are others than before.
    pub(crate) fn replace(&self, keys: SigningKeys) -> bool {
        let mut known = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let ids = |keys: &SigningKeys| -> KeyIds { keys.ids("") };
        let differ = ids(&known) != ids(&keys);
        *known = keys;
        differ
    }

    /// A token for a user on a device, in no session.
    pub fn issue(&self, caller: &Caller, lifetime: Duration) -> Result<String, TokenError> {
        self.issue_in(caller, None, lifetime)
    }

    /// A token for a user on a device, in a session: it is not taken any longer than that goes on.
    pub fn issue_in(
        &self,
        caller: &Caller,
        session: Option<SessionId>,
        lifetime: Duration,
    ) -> Result<String, TokenError> {
        if !is_user(&caller.user) {
            return Err(TokenError::User);
        }
        let now = self.clock.now_ms() / 1_000;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: caller.user.clone(),
            device: caller.device,
            sid: session,
            iat: now,
            nbf: now.saturating_sub(CLOCKS_DIFFER_S),
            exp: now.saturating_add(lifetime.as_secs()),
        };
        let keys = self.keys();
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(ACCESS_TYPE.to_owned());
        header.kid = Some(keys.id().to_owned());
        Ok(encode(&header, &claims, keys.current().encoding())?)
    }

    /// Whose token it is, and how long it holds.
    pub fn verify(&self, token: &str) -> Result<Access, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Long);
        }
        let header = jwt::header(token)?;
        if header.typ.as_deref() != Some(ACCESS_TYPE) {
            return Err(TokenError::Type);
        }
        if header.alg != Algorithm::ES256 {
            return Err(TokenError::Algorithm);
        }
        let keys = self.keys();
        let key = keys.believed().find(|key| header.kid.as_deref() == Some(key.id())).ok_or(TokenError::Key)?;
        let claims: Claims = jwt::claims(token, header.alg, key.decoding())?;
        if claims.iss != self.issuer {
            return Err(TokenError::Issuer);
        }
        if claims.aud != self.audience {
            return Err(TokenError::Audience);
        }
        // No leeway: nodes' clocks differ by less than what tokens hold longer than anybody waits.
        jwt::in_time(claims.exp, Some(claims.nbf), self.clock.now_ms(), 0)?;
        if !is_user(&claims.sub) {
            return Err(TokenError::User);
        }
        let caller = Caller { user: claims.sub, device: claims.device };
        Ok(Access { caller, session: claims.sid, expires_s: claims.exp, issued_by: IssuedBy::Us })
    }
}

#[cfg(test)]
mod tests;
