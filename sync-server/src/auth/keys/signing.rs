//! Keys that sign tokens: the one in use, the one that follows and the one before.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::Serialize;

use super::{KeyError, KeyIds, NEXT_SIGNING_KEY, PREVIOUS_SIGNING_KEY, SIGNING_KEY, folder, id};

/// Bytes of a coordinate of a point on P-256.
const COORDINATE_BYTES: usize = 32;

/// A P-256 key that signs tokens.
pub struct SigningKey {
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// The point, uncompressed: a byte 4, x, y.
    public: Vec<u8>,
}

/// A public key, as `/.well-known/jwks.json` shows it (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PublicKey {
    /// `EC`.
    pub kty: String,
    /// `P-256`.
    pub crv: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub used_for: String,
    /// `ES256`.
    pub alg: String,
    /// What tokens name it by.
    pub kid: String,
    /// The point's x, in base64url.
    pub x: String,
    /// The point's y, in base64url.
    pub y: String,
}

impl SigningKey {
    /// From PKCS #8 in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        Self::parse(pem).ok_or(KeyError::Invalid(SIGNING_KEY))
    }

    fn parse(pem: &[u8]) -> Option<Self> {
        let encoding = EncodingKey::from_ec_pem(pem).ok()?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, encoding.as_bytes()).ok()?;
        let public = pair.public_key().as_ref().to_vec();
        Some(Self { id: id(b"rejoin key", &public), decoding: DecodingKey::from_ec_der(&public), encoding, public })
    }

    fn read(folder: &Path, name: &'static str) -> Result<Option<Self>, KeyError> {
        let Some(pem) = folder::read(folder, name)? else { return Ok(None) };
        Self::parse(&pem).map(Some).ok_or(KeyError::Invalid(name))
    }

    /// What tokens name it by.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(in crate::auth) fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }

    pub(in crate::auth) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// The half that everybody may have.
    pub(crate) fn public(&self) -> PublicKey {
        let coordinate = |at: usize| {
            let bytes = self.public.get(1 + at * COORDINATE_BYTES..1 + (at + 1) * COORDINATE_BYTES);
            URL_SAFE_NO_PAD.encode(bytes.unwrap_or_default())
        };
        PublicKey {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            used_for: "sig".to_owned(),
            alg: "ES256".to_owned(),
            kid: self.id.clone(),
            x: coordinate(0),
            y: coordinate(1),
        }
    }
}

/// The keys of an environment: one signs, and while they follow each other up to three are believed.
#[derive(Clone)]
pub struct SigningKeys {
    current: Arc<SigningKey>,
    next: Option<Arc<SigningKey>>,
    previous: Option<Arc<SigningKey>>,
}

impl From<SigningKey> for SigningKeys {
    fn from(key: SigningKey) -> Self {
        Self { current: Arc::new(key), next: None, previous: None }
    }
}

impl SigningKeys {
    /// Those in a folder; `None` where nothing signs.
    pub fn read(folder: &Path) -> Result<Option<Self>, KeyError> {
        // A rotation moves keys from next to current and from current to previous, in the opposite order. Read this way, one
        // that happens meanwhile may show a key twice, and hides none that tokens are signed with.
        let next = SigningKey::read(folder, NEXT_SIGNING_KEY)?.map(Arc::new);
        let current = SigningKey::read(folder, SIGNING_KEY)?.map(Arc::new);
        let previous = SigningKey::read(folder, PREVIOUS_SIGNING_KEY)?.map(Arc::new);
        let Some(current) = current else { return Ok(None) };
        let other = |key: &Arc<SigningKey>| key.id != current.id;
        Ok(Some(Self { next: next.filter(other), previous: previous.filter(other), current }))
    }

    /// The one that signs.
    pub fn current(&self) -> &SigningKey {
        &self.current
    }

    /// What tokens of now name the key by.
    pub fn id(&self) -> &str {
        &self.current.id
    }

    /// All that are believed: the one that signs, the next, the one before.
    pub fn believed(&self) -> impl Iterator<Item = &SigningKey> {
        [Some(&self.current), self.next.as_ref(), self.previous.as_ref()].into_iter().flatten().map(AsRef::as_ref)
    }

    /// What they go by, beside the key of receipts.
    pub(crate) fn ids(&self, receipts: &str) -> KeyIds {
        KeyIds {
            signing: self.current.id.clone(),
            previous: self.previous.as_ref().map(|key| key.id.clone()),
            next: self.next.as_ref().map(|key| key.id.clone()),
            receipts: receipts.to_owned(),
        }
    }
}

/// A new signing key, as its file holds it.
pub fn new_signing_key() -> Result<Vec<u8>, KeyError> {
    let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).and_then(|pair| pair.to_pkcs8v1());
    let encoded = STANDARD.encode(document.map_err(|_| KeyError::Random)?);
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")).into_bytes())
}
