//! Authorization codes: given to a browser, redeemed by the app that sent it here (RFC 6749, RFC 7636).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use sync_core::id::Hash;

use super::authorize::Asked;
use super::random;
use crate::app::App;
use crate::auth::accounts::Account;
use crate::error::ApiError;
use crate::store::grants::{Grant, GrantKind, GrantState};

/// From the browser to the app it is a moment.
const CODE_MS: u64 = 60_000;
/// RFC 7636, section 4.1.
const VERIFIER_BYTES: std::ops::RangeInclusive<usize> = 43..=128;

/// What a code is kept under.
pub(super) fn id(code: &str) -> Hash {
    Hash::of(&[b"rejoin authorization code\0", code.as_bytes()])
}

/// A code for what was asked.
pub(super) async fn give(app: &App, asked: &Asked, account: Account) -> Result<String, ApiError> {
    let code = URL_SAFE_NO_PAD.encode(random::<32>()?);
    let now_ms = app.clock.now_ms();
    let grant = Grant {
        kind: GrantKind::Code { redirect_uri: asked.redirect.to_string(), challenge: asked.challenge.clone() },
        state: GrantState::Approved,
        client: asked.client.clone(),
        user: Some(account.user),
        display_name: Some(account.display_name),
        device: None,
        expires_ms: now_ms.saturating_add(CODE_MS),
    };
    let added = app.registry.add_grant(id(&code), &grant, now_ms).await?;
    if added { Ok(code) } else { Err(ApiError::internal("the same random number twice")) }
}

/// Whether what came with a code is what belongs to it.
pub(super) fn fits(kind: &GrantKind, redirect: &str, verifier: &str) -> bool {
    let GrantKind::Code { redirect_uri, challenge } = kind else { return false };
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let shown = URL_SAFE_NO_PAD.encode(Hash::of(&[verifier.as_bytes()]).0);
    VERIFIER_BYTES.contains(&verifier.len())
        && verifier.bytes().all(unreserved)
        && redirect_uri == redirect
        && bool::from(shown.as_bytes().ct_eq(challenge.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned();
        let kind = GrantKind::Code { redirect_uri: "http://127.0.0.1/".to_owned(), challenge };
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(fits(&kind, "http://127.0.0.1/", verifier));
        assert!(!fits(&kind, "http://127.0.0.1:80/x", verifier));
        assert!(!fits(&kind, "http://127.0.0.1/", &verifier.to_lowercase()));
        assert!(!fits(&kind, "http://127.0.0.1/", ""));
    }
}
