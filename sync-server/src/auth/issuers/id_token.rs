//! ID tokens: a provider's word for who has just signed in (OpenID Connect Core, section 3.1.3.7).

use serde::Deserialize;

use super::super::jwt::{self, Audience};
use super::super::token::TokenError;
use super::{Identity, Provider, Refused};

/// An ID token is used right after the sign-in; what is older may have been found somewhere.
const AGE_SECONDS_MAX: u64 = 600;
/// As long as a display name may be.
const DISPLAY_NAME_CHARACTERS_MAX: usize = 100;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    azp: Option<String>,
    sub: String,
    #[serde(deserialize_with = "jwt::seconds")]
    exp: u64,
    #[serde(deserialize_with = "jwt::seconds")]
    iat: u64,
    #[serde(default, deserialize_with = "jwt::maybe_seconds")]
    nbf: Option<u64>,
    nonce: Option<String>,
    name: Option<serde_json::Value>,
    /// What a token has that logs somebody out (OpenID Connect Back-Channel Logout); it is no ID token.
    events: Option<serde_json::Value>,
}

/// What the token has to fit beside its provider.
pub(super) struct Rules<'a> {
    pub(super) nonce: Option<&'a str>,
    pub(super) now_ms: u64,
    pub(super) leeway_s: u64,
}

pub(super) async fn identity(provider: &Provider, token: &str, rules: &Rules<'_>) -> Result<Identity, Refused> {
    let header = jwt::header(token)?;
    // Access and logout tokens say what they are; ID tokens say this, or nothing.
    if !header.typ.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("JWT")) {
        return Err(TokenError::Type.into());
    }
    let claims: Claims = provider.claims(token, &header).await?;
    check(provider, &claims, rules)?;
    let display_name = claims.name.as_ref().and_then(serde_json::Value::as_str).and_then(display_name);
    Ok(Identity { user: provider.user(&claims.sub)?, display_name })
}

fn check(provider: &Provider, claims: &Claims, rules: &Rules<'_>) -> Result<(), Refused> {
    if claims.iss != provider.config.url {
        return Err(TokenError::Issuer.into());
    }
    if claims.events.is_some() {
        return Err(TokenError::Type.into());
    }
    let ours = |name: &String| provider.config.client_ids.contains(name);
    let audience = claims.aud.names();
    if !audience.iter().any(ours) {
        return Err(TokenError::Audience.into());
    }
    if audience.len() > 1 && !claims.azp.as_ref().is_some_and(ours) {
        return Err(Refused::Claim("an ID token for several, issued to another"));
    }
    jwt::in_time(claims.exp, claims.nbf, rules.now_ms, rules.leeway_s)?;
    let now_s = rules.now_ms / 1_000;
    if claims.iat > now_s.saturating_add(rules.leeway_s) {
        return Err(TokenError::Early.into());
    }
    if now_s > claims.iat.saturating_add(AGE_SECONDS_MAX + rules.leeway_s) {
        return Err(Refused::Claim("an ID token of a sign-in too long ago"));
    }
    if claims.nonce.as_deref() != rules.nonce {
        return Err(Refused::Claim("an ID token of another sign-in: its nonce differs"));
    }
    Ok(())
}

/// As it may be shown to others.
fn display_name(text: &str) -> Option<String> {
    let shown: String = text.chars().filter(|character| !character.is_control()).collect();
    let short: String = shown.trim().chars().take(DISPLAY_NAME_CHARACTERS_MAX).collect();
    let short = short.trim_end();
    (!short.is_empty()).then(|| short.to_owned())
}
