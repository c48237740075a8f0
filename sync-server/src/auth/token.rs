//! Access tokens: JWTs signed with ES256, of type `at+jwt`, that name a user and a device.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use sync_core::id::DeviceId;

use super::keys::SigningKey;
use crate::config;
use crate::store::devices::SessionId;

/// The type that sets access tokens apart from an issuer's other tokens (RFC 9068).
const TYPE: &str = "at+jwt";
/// A user's name; longer ones are refused before they reach any row.
const USER_BYTES_MAX: usize = 255;
/// A token of ours has about 400 bytes; what is longer is not parsed.
const TOKEN_BYTES_MAX: usize = 4_096;

/// A user on a device, as a valid token names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: String,
    /// The device.
    pub device: DeviceId,
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
}

impl Access {
    /// Whether its device must be one that is registered here. Our own key may name others, for development.
    pub(crate) fn must_be_registered(&self) -> bool {
        false
    }

    /// How long it still holds.
    pub fn left(&self) -> Duration {
        Duration::from_secs(self.expires_s).saturating_sub(now())
    }
}

/// The server's clock, since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A token that is not taken. Callers are told no more than that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token, or of another kind, algorithm or key.
    #[error("not an access token of this server")]
    Foreign,
    /// Signature, issuer, audience or time are wrong.
    #[error("{}", reason(.0))]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// The user's name is empty or too long.
    #[error("a user's name has 1 to {USER_BYTES_MAX} bytes, none of them zero")]
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

/// A zero byte is none of the texts that databases keep.
fn is_user(name: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&name.len()) && !name.contains('\0')
}

/// Issues tokens, and checks them.
pub struct Tokens {
    key: SigningKey,
    issuer: String,
    audience: String,
    validation: Validation,
}

impl Tokens {
    /// With that key, for that issuer and audience.
    pub fn new(key: SigningKey, config: &config::Token) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        // We check our own tokens by our own clock.
        validation.leeway = 0;
        Self { key, issuer: config.issuer.clone(), audience: config.audience.clone(), validation }
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
        let now = now().as_secs();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: caller.user.clone(),
            device: caller.device,
            sid: session,
            iat: now,
            nbf: now,
            exp: now.saturating_add(lifetime.as_secs()),
        };
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.key.id.clone());
        Ok(encode(&header, &claims, &self.key.encoding)?)
    }

    /// Whose token it is, and how long it holds.
    pub fn verify(&self, token: &str) -> Result<Access, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Foreign);
        }
        let header = decode_header(token)?;
        // The key is chosen by us: `jwk`, `jku` and `x5u` of the header are never looked at.
        let ours = header.typ.as_deref() == Some(TYPE)
            && header.alg == Algorithm::ES256
            && header.kid.as_deref() == Some(self.key.id())
            && header.crit.is_none();
        if !ours {
            return Err(TokenError::Foreign);
        }
        let claims = decode::<Claims>(token, &self.key.decoding, &self.validation)?.claims;
        if !is_user(&claims.sub) {
            return Err(TokenError::User);
        }
        let caller = Caller { user: claims.sub, device: claims.device };
        Ok(Access { caller, session: claims.sid, expires_s: claims.exp })
    }
}

#[cfg(test)]
mod tests;
