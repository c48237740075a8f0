//! A device's own key pair (Ed25519). With it a device that lost an answer for longer than the server repeats itself to anybody
//! proves that it is the one that asked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sync_core::id::Hash;
use sync_core::wire::account::Private;

use crate::client::clock;

/// What is signed begins so, lest a signature be good for anything else.
const REPEAT_TAG: &[u8] = b"rejoin refresh repeat\0";
const SEED_BYTES: usize = 32;

/// A new key's secret half, for the keychain.
pub(super) fn generate() -> Private {
    let mut seed = [0; SEED_BYTES];
    clock::fill(&mut seed);
    Private(URL_SAFE_NO_PAD.encode(seed))
}

/// Its public half, for the server. `None` if the secret half is none.
pub(super) fn public_of(secret: &Private) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(pair(secret)?.public_key()))
}

/// The proof that goes with a refresh token.
pub(super) fn proof(secret: &Private, refresh_token: &Private) -> Option<String> {
    let signed = [REPEAT_TAG, &Hash::of(&[refresh_token.0.as_bytes()]).0].concat();
    Some(URL_SAFE_NO_PAD.encode(pair(secret)?.sign(&signed)))
}

fn pair(secret: &Private) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(&URL_SAFE_NO_PAD.decode(&secret.0).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_key_and_one_token() {
        let (one, other) = (generate(), generate());
        let token = Private::from("rjr_1");
        let verified = |secret: &Private, token: &Private| {
            let key = URL_SAFE_NO_PAD.decode(public_of(secret).unwrap()).unwrap();
            let signature = URL_SAFE_NO_PAD.decode(proof(&one, &Private::from("rjr_1")).unwrap()).unwrap();
            let signed = [REPEAT_TAG, &Hash::of(&[token.0.as_bytes()]).0].concat();
            ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key).verify(&signed, &signature).is_ok()
        };
        assert!(verified(&one, &token));
        assert!(!verified(&other, &token));
        assert!(!verified(&one, &"rjr_2".into()));
        // What a keychain gives back may be anything.
        assert_eq!(proof(&"short".into(), &token), None);
    }
}
