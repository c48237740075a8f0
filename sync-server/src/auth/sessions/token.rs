//! Refresh tokens: what they look like, and what their secrets are made of.
//!
//! A secret is derived from the session's nonce and the token's number with a key that is not in the database. So the
//! successor that was given once can be given again, and a token that was used before is known for what it is, though a row
//! holds nothing but the hash of the current one.

use std::fmt;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use sync_core::id::Hash;

use crate::store::devices::SessionId;

/// What all of them begin with, so that people, scanners and our own redaction know one.
const PREFIX: &str = "rjr_";
/// The form of what follows.
const FORM: u8 = 1;
const SECRET_BYTES: usize = 32;
const HEAD_BYTES: usize = 1 + 16 + 8 + SECRET_BYTES;
/// With the longest name of a user.
const TOKEN_BYTES_MAX: usize = HEAD_BYTES + 255;

/// What secrets are derived with.
pub struct RefreshKey(hmac::Key);

impl RefreshKey {
    /// From the secret of the key of receipts, so that nodes need no further file. Neither key tells anything of the other.
    pub fn derive(receipts: &[u8; 32]) -> Self {
        let key = hmac::Key::new(HMAC_SHA256, receipts);
        Self(hmac::Key::new(HMAC_SHA256, hmac::sign(&key, b"rejoin refresh key").as_ref()))
    }

    fn secret(&self, nonce: &[u8; 16], session: SessionId, n: u64) -> Secret {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [b"rejoin refresh token".as_slice(), nonce, session.as_bytes(), &n.to_be_bytes()] {
            context.update(part);
        }
        let mut secret = [0; SECRET_BYTES];
        secret.copy_from_slice(context.sign().as_ref());
        Secret(secret)
    }

    /// The token of that number.
    pub(super) fn token(&self, user: &str, session: SessionId, nonce: &[u8; 16], n: u64) -> RefreshToken {
        RefreshToken { user: user.to_owned(), session, n, secret: self.secret(nonce, session, n) }
    }

    /// Whether a token is what this key makes of that nonce.
    pub(super) fn made(&self, token: &RefreshToken, nonce: &[u8; 16]) -> bool {
        self.secret(nonce, token.session, token.n).0.ct_eq(&token.secret.0).into()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Secret([u8; SECRET_BYTES]);

/// A refresh token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RefreshToken {
    pub(super) user: String,
    pub(super) session: SessionId,
    pub(super) n: u64,
    secret: Secret,
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {} of {}", self.n, self.session)
    }
}

impl RefreshToken {
    /// As its device keeps it.
    pub(super) fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.user.len());
        bytes.push(FORM);
        bytes.extend(self.session.as_bytes());
        bytes.extend(self.n.to_be_bytes());
        bytes.extend(self.secret.0);
        bytes.extend(self.user.as_bytes());
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads one. Whether it is genuine, its session tells.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix(PREFIX)?;
        if text.len() > TOKEN_BYTES_MAX.div_ceil(3) * 4 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, user) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let user = std::str::from_utf8(user).ok()?;
        let fine = head[0] == FORM && !user.is_empty() && !user.contains('\0') && bytes.len() <= TOKEN_BYTES_MAX;
        fine.then_some(())?;
        Some(Self {
            user: user.to_owned(),
            session: SessionId::from_bytes(head[1..17].try_into().ok()?),
            n: u64::from_be_bytes(head[17..25].try_into().ok()?),
            secret: Secret(head[25..].try_into().ok()?),
        })
    }

    /// What the database holds of it.
    pub(super) fn hash(&self) -> Hash {
        Hash::of(&[&self.secret.0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> RefreshKey {
        RefreshKey::derive(&[byte; 32])
    }

    const SESSION: SessionId = SessionId::from_bytes([3; 16]);

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for user in ["a", "local:0b5c", &"ü".repeat(127)] {
            let token = key(1).token(user, SESSION, &[2; 16], u64::MAX);
            let text = token.text();
            assert!(
                text.starts_with("rjr_")
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
            );
            assert_eq!(RefreshToken::read(&text), Some(token));
        }
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let good = key(1).token("ann", SESSION, &[2; 16], 1).text();
        let bytes = URL_SAFE_NO_PAD.decode(&good[4..]).unwrap();
        let text = |bytes: &[u8]| format!("rjr_{}", URL_SAFE_NO_PAD.encode(bytes));
        let mut wrong =
            vec![String::new(), "rjr_".to_owned(), good[4..].to_owned(), format!("{good}="), format!("{good} ")];
        wrong.extend((0..=HEAD_BYTES).map(|length| text(&bytes[..length])));
        wrong.push(text(&[&[2], &bytes[1..]].concat()));
        wrong.push(text(&[&bytes[..HEAD_BYTES], b"an\0n"].concat()));
        wrong.push(text(&[&bytes[..HEAD_BYTES], b"\xff"].concat()));
        wrong.push(text(&[&bytes[..HEAD_BYTES], &[b'x'; 256]].concat()));
        for text in wrong {
            assert_eq!(RefreshToken::read(&text), None, "{text}");
        }
    }

    #[test]
    fn nothing_but_the_very_token_is_genuine() {
        let (nonce, key_of_ours) = ([2; 16], key(1));
        let token = key_of_ours.token("ann", SESSION, &nonce, 7);
        assert!(key_of_ours.made(&token, &nonce));
        assert!(!key(9).made(&token, &nonce) && !key_of_ours.made(&token, &[9; 16]));
        for other in [
            RefreshToken { n: 8, ..token.clone() },
            RefreshToken { session: SessionId::from_bytes([9; 16]), ..token.clone() },
        ] {
            assert!(!key_of_ours.made(&other, &nonce));
        }
        for bit in 0..SECRET_BYTES * 8 {
            let mut secret = token.secret;
            secret.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!key_of_ours.made(&RefreshToken { secret, ..token.clone() }, &nonce));
        }
    }
}
