//! A provider's public keys (RFC 7517): those that are taken of what it publishes.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Providers publish two or three; more than this are no key set of a provider.
const KEYS_MAX: usize = 64;
/// Shorter RSA keys are not safe; longer ones are not verified by the library.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// A key that verifies tokens.
pub(super) struct Key {
    id: String,
    algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// A provider's keys.
pub(super) struct KeySet(Vec<Arc<Key>>);

#[derive(Deserialize)]
struct Raw {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads what a provider publishes. What cannot be used is passed over: other parties have needs of their own.
    pub(super) fn parse(json: &[u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Published {
            keys: Vec<Value>,
        }
        let published: Published = serde_json::from_slice(json).map_err(|_| "not a key set")?;
        if published.keys.len() > KEYS_MAX {
            return Err("a key set with more than 64 keys");
        }
        let usable = |key| serde_json::from_value::<Raw>(key).ok().and_then(Raw::usable).map(Arc::new);
        let keys: Vec<Arc<Key>> = published.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() { Err("a key set without a key that could be used") } else { Ok(Self(keys)) }
    }

    pub(super) fn find(&self, id: &str, algorithm: Algorithm) -> Option<Arc<Key>> {
        self.0.iter().find(|key| key.id == id && key.algorithm == algorithm).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Raw {
    fn usable(self) -> Option<Key> {
        let signs = self.used_for.as_deref().is_none_or(|used_for| used_for == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        if !signs || !verifies {
            return None;
        }
        let (algorithm, name, decoding) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => {
                (Algorithm::ES256, "ES256", DecodingKey::from_ec_components(&self.x?, &self.y?).ok()?)
            }
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_components(&self.x?).ok()?),
            ("RSA", _) => {
                let (n, e) = (self.n?, self.e?);
                if !RSA_BITS.contains(&bits(&n)?) {
                    return None;
                }
                (Algorithm::RS256, "RS256", DecodingKey::from_rsa_components(&n, &e).ok()?)
            }
            _ => return None,
        };
        // One key, one algorithm: a key is never taken for another one than its provider says. RFC 9864 has a name of its own
        // for EdDSA on this curve.
        let of = self.alg.as_deref();
        let fits = of.is_none_or(|of| of == name || of == "Ed25519" && name == "EdDSA");
        fits.then_some(Key { id: self.kid, algorithm, decoding })
    }
}

/// How long a number in base64url is.
fn bits(number: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(number).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some((bytes.len() - first) * 8 - bytes[first].leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A key set with this one, and what became of it.
    fn taken(key: Value) -> bool {
        let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "good", "x": coordinate(), "y": coordinate() });
        let set = KeySet::parse(json!({ "keys": [ec, key] }).to_string().as_bytes()).unwrap();
        set.len() == 2
    }

    fn coordinate() -> String {
        URL_SAFE_NO_PAD.encode([1; 32])
    }

    fn rsa(bits: usize) -> Value {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= bits.div_ceil(8) * 8 - bits;
        json!({ "kty": "RSA", "kid": "rsa", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn keys_that_are_safe_are_taken() {
        assert!(taken(rsa(2_048)));
        assert!(taken(rsa(4_096)));
        assert!(taken(with(with(rsa(2_048), "use", json!("sig")), "alg", json!("RS256"))));
        assert!(taken(with(rsa(2_048), "key_ops", json!(["verify"]))));
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": coordinate() });
        assert!(taken(ed.clone()) && taken(with(ed, "alg", json!("EdDSA"))));
    }

    #[test]
    fn others_are_passed_over() {
        let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "x": coordinate(), "y": coordinate() });
        for (what, key) in [
            ("short RSA", rsa(2_047)),
            (
                "RSA with leading zeros",
                with(rsa(1_024), "n", json!(URL_SAFE_NO_PAD.encode([[0; 128], [255; 128]].concat()))),
            ),
            ("endless RSA", rsa(8_193)),
            ("for encryption", with(rsa(2_048), "use", json!("enc"))),
            ("for signing alone", with(rsa(2_048), "key_ops", json!(["sign"]))),
            ("PS256", with(rsa(2_048), "alg", json!("PS256"))),
            ("RSA for HMAC", with(rsa(2_048), "alg", json!("HS256"))),
            ("no id", with(rsa(2_048), "kid", Value::Null)),
            ("a secret", json!({ "kty": "oct", "kid": "oct", "k": coordinate(), "alg": "HS256" })),
            ("P-384", with(ec.clone(), "crv", json!("P-384"))),
            ("EC for RS256", with(ec, "alg", json!("RS256"))),
            ("Ed448", json!({ "kty": "OKP", "crv": "Ed448", "kid": "ed", "x": coordinate() })),
            ("no object", json!(7)),
        ] {
            assert!(!taken(key), "{what}");
        }
    }

    #[test]
    fn what_is_no_key_set_is_none() {
        let many: Vec<Value> = (0..=KEYS_MAX).map(|_| rsa(2_048)).collect();
        for (what, json) in [
            ("not JSON", "<html>".to_owned()),
            ("another document", json!({ "issuer": "x" }).to_string()),
            ("empty", json!({ "keys": [] }).to_string()),
            ("without a key of use", json!({ "keys": [rsa(1_024)] }).to_string()),
            ("too many", json!({ "keys": many }).to_string()),
        ] {
            assert!(KeySet::parse(json.as_bytes()).is_err(), "{what}");
        }
    }
}
