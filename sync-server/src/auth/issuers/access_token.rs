//! Access tokens of a provider that was configured to issue them for this server (RFC 9068).

use serde::Deserialize;
use sync_core::id::DeviceId;

use super::super::jwt::{self, ACCESS_TYPE, Audience};
use super::super::token::{Access, Caller, IssuedBy, TOKEN_BYTES_MAX, TokenError};
use super::{Provider, Refused};

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    sub: String,
    device: DeviceId,
    #[serde(deserialize_with = "jwt::seconds")]
    exp: u64,
    #[serde(default, deserialize_with = "jwt::maybe_seconds")]
    nbf: Option<u64>,
}

/// The standard allows the type in full, too.
pub(super) fn is_access_type(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    kind.strip_prefix("application/").unwrap_or(&kind) == ACCESS_TYPE
}

pub(super) async fn access(provider: &Provider, token: &str, now_ms: u64, leeway_s: u64) -> Result<Access, Refused> {
    let audience = provider.config.access_audience.as_ref().ok_or(TokenError::Issuer)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Long.into());
    }
    let header = jwt::header(token)?;
    if !header.typ.as_deref().is_some_and(is_access_type) {
        return Err(TokenError::Type.into());
    }
    let claims: Claims = provider.claims(token, &header).await?;
    if claims.iss != provider.config.url {
        return Err(TokenError::Issuer.into());
    }
    if !claims.aud.names().contains(audience) {
        return Err(TokenError::Audience.into());
    }
    jwt::in_time(claims.exp, claims.nbf, now_ms, leeway_s)?;
    let caller = Caller { user: provider.user(&claims.sub)?, device: claims.device };
    // What the clocks may differ by counts for connections that last, too.
    let expires_s = claims.exp.saturating_add(leeway_s);
    Ok(Access { caller, session: None, expires_s, issued_by: IssuedBy::Provider })
}
