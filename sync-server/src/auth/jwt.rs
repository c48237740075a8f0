//! A signed token, whoever issued it: what is looked at before its signature is checked, the signature, and its time.

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, dangerous, decode, decode_header};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use sync_core::id::DeviceId;

use super::token::TokenError;

/// A user's name; longer ones are refused before they reach any row.
const USER_BYTES_MAX: usize = 255;
/// The type that sets access tokens apart from an issuer's other tokens (RFC 9068).
pub(super) const ACCESS_TYPE: &str = "at+jwt";

/// A user on a device, as a valid token names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: String,
    /// The device.
    pub device: DeviceId,
}

/// A zero byte is none of the texts that databases keep.
pub(super) fn is_user(name: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&name.len()) && !name.contains('\0')
}

/// Who the token says that it is from. Nothing has been checked: it is good for choosing among issuers that are known.
pub(super) fn issuer(token: &str) -> Result<String, TokenError> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    Ok(dangerous::insecure_decode_claims::<Issuer>(token)?.iss)
}

/// The header, if it leaves the choice of the key to us: one that brings a key or says where to get it is not looked at, and
/// one with extensions that must be understood is not understood.
pub(super) fn header(token: &str) -> Result<Header, TokenError> {
    let header = decode_header(token)?;
    let brings_a_key = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
    let encoded = header.crit.is_some() || header.enc.is_some() || header.zip.is_some();
    if brings_a_key || encoded { Err(TokenError::Header) } else { Ok(header) }
}

/// What the token says, if that key signed it.
pub(super) fn claims<T: DeserializeOwned>(
    token: &str,
    algorithm: Algorithm,
    key: &DecodingKey,
) -> Result<T, TokenError> {
    let mut signature = Validation::new(algorithm);
    // Who, for whom and when are checked by us: by our clock, and as strictly as the issuer deserves.
    signature.validate_exp = false;
    signature.validate_aud = false;
    signature.required_spec_claims.clear();
    Ok(decode::<T>(token, key, &signature)?.claims)
}

/// Whether a token holds now, if clocks differ by so much. A token is expired in the second that it names.
pub(super) fn in_time(expires_s: u64, not_before_s: Option<u64>, now_ms: u64, leeway_s: u64) -> Result<(), TokenError> {
    if now_ms / 1_000 >= expires_s.saturating_add(leeway_s) {
        return Err(TokenError::Expired);
    }
    match not_before_s {
        Some(not_before_s) if not_before_s > (now_ms / 1_000).saturating_add(leeway_s) => Err(TokenError::Early),
        _ => Ok(()),
    }
}

/// One or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// Seconds since 1970. The standard allows fractions (RFC 7519, section 2).
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Whole(u64),
        Fraction(f64),
    }
    match Number::deserialize(deserializer)? {
        Number::Whole(seconds) => Ok(seconds),
        Number::Fraction(seconds) if (0.0..1e15).contains(&seconds) => Ok(seconds as u64),
        Number::Fraction(_) => Err(D::Error::custom("not a time")),
    }
}

/// The same, where it may be left out.
pub(super) fn maybe_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    seconds(deserializer).map(Some)
}
