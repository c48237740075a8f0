//! Every way to forge a token of ours that we know of. `tests/all/tokens.rs` tries them on a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::{EncodingKey, jwk::Jwk};
use serde_json::{Value, json};

use super::*;
use crate::auth::keys::{SigningKey, new_signing_key};

/// Some second of the year 2033.
const NOW_S: u64 = 2_000_000_000;

fn at(now_ms: u64) -> Clock {
    Clock::new(move || now_ms)
}

fn tokens(key: &[u8]) -> Tokens {
    Tokens::new(SigningKey::from_pem(key).unwrap(), &config::Token::default()).with_clock(at(NOW_S * 1_000))
}

fn ann() -> Caller {
    Caller { user: "ann".to_owned(), device: DeviceId::from_bytes([7; 16]) }
}

/// A token as we issue them, but for `change`, signed with that key.
fn forged(key: &[u8], change: impl FnOnce(&mut Header, &mut Value)) -> String {
    let signing = SigningKey::from_pem(key).unwrap();
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some(ACCESS_TYPE.to_owned());
    header.kid = Some(signing.id().to_owned());
    let mut claims = json!({
        "iss": "rejoin/development", "aud": "rejoin", "sub": "ann", "device": ann().device.to_string(),
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 60,
    });
    change(&mut header, &mut claims);
    match header.alg {
        Algorithm::HS256 => {
            let secret = EncodingKey::from_secret(signing.decoding().try_get_as_bytes().unwrap());
            encode(&header, &claims, &secret).unwrap()
        }
        _ => encode(&header, &claims, signing.encoding()).unwrap(),
    }
}

#[test]
fn an_issued_token_is_taken() {
    let key = new_signing_key().unwrap();
    let tokens = tokens(&key);
    let access = tokens.verify(&tokens.issue(&ann(), Duration::from_mins(1)).unwrap()).unwrap();
    let expected = Access { caller: ann(), session: None, expires_s: NOW_S + 60, issued_by: IssuedBy::Us };
    assert_eq!(access, expected);
    assert_eq!(access.left(NOW_S * 1_000 + 500), Duration::from_millis(59_500));
    assert_eq!(access.left(NOW_S * 2_000), Duration::ZERO);
    assert_eq!(tokens.verify(&forged(&key, |_, _| ())).unwrap(), expected, "the forger's blueprint is good");
}

#[test]
fn forged_tokens_are_not() {
    let (key, foreign) = (new_signing_key().unwrap(), new_signing_key().unwrap());
    let tokens = tokens(&key);
    let id = tokens.keys().id().to_owned();
    let foreign_jwk = || {
        let mut jwk =
            Jwk::from_encoding_key(SigningKey::from_pem(&foreign).unwrap().encoding(), Algorithm::ES256).unwrap();
        jwk.common.key_id = Some("mine".to_owned());
        jwk
    };
    let good = forged(&key, |_, _| ());
    let parts: Vec<&str> = good.split('.').collect();
    // {"alg":"none","typ":"at+jwt"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
    let table = [
        ("nothing", String::new()),
        ("not a token", "abc".to_owned()),
        ("alg none", format!("{none}.{}.", parts[1])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("another's claims", format!("{}.{}.{}", parts[0], parts[1].replace('A', "B"), parts[2])),
        ("HS256 with the public key", forged(&key, |header, _| header.alg = Algorithm::HS256)),
        ("another key under our id", forged(&foreign, |header, _| header.kid = Some(id.clone()))),
        ("another key", forged(&foreign, |_, _| ())),
        ("no key id", forged(&key, |header, _| header.kid = None)),
        ("an ID token", forged(&key, |header, _| header.typ = Some("JWT".to_owned()))),
        ("no type", forged(&key, |header, _| header.typ = None)),
        ("a key's URL", forged(&key, |header, _| header.jku = Some("https://evil.example".to_owned()))),
        ("a key", forged(&key, |header, _| header.jwk = Some(foreign_jwk()))),
        ("a certificate's URL", forged(&key, |header, _| header.x5u = Some("https://evil.example".to_owned()))),
        ("a certificate", forged(&key, |header, _| header.x5c = Some(vec!["MIIB".to_owned()]))),
        ("critical extensions", forged(&key, |header, _| header.crit = Some(vec!["b64".to_owned()]))),
        ("another issuer", forged(&key, |_, claims| claims["iss"] = json!("evil/development"))),
        ("another environment", forged(&key, |_, claims| claims["iss"] = json!("rejoin/staging"))),
        ("no environment", forged(&key, |_, claims| claims["iss"] = json!("rejoin"))),
        ("several issuers", forged(&key, |_, claims| claims["iss"] = json!(["rejoin/development", "evil"]))),
        ("another audience", forged(&key, |_, claims| claims["aud"] = json!("other"))),
        ("several audiences", forged(&key, |_, claims| claims["aud"] = json!(["rejoin", "other"]))),
        ("expired by a second", forged(&key, |_, claims| claims["exp"] = json!(NOW_S - 1))),
        ("expired now", forged(&key, |_, claims| claims["exp"] = json!(NOW_S))),
        ("not valid yet", forged(&key, |_, claims| claims["nbf"] = json!(NOW_S + 1))),
        ("no expiry", forged(&key, |_, claims| claims["exp"] = Value::Null)),
        ("no beginning", forged(&key, |_, claims| claims["nbf"] = Value::Null)),
        ("an expiry in words", forged(&key, |_, claims| claims["exp"] = json!("9999999999"))),
        ("no user", forged(&key, |_, claims| claims["sub"] = json!(""))),
        ("a long user", forged(&key, |_, claims| claims["sub"] = json!("x".repeat(256)))),
        ("no device", forged(&key, |_, claims| claims["device"] = Value::Null)),
        ("not a device", forged(&key, |_, claims| claims["device"] = json!("phone"))),
        ("a huge one", "x".repeat(TOKEN_BYTES_MAX + 1)),
        ("a huge good one", forged(&key, |_, claims| claims["padding"] = json!("x".repeat(TOKEN_BYTES_MAX)))),
    ];
    for (what, token) in table {
        assert!(tokens.verify(&token).is_err(), "{what}: {token}");
    }
    for user in ["", "an\0n"] {
        assert_eq!(tokens.issue(&Caller { user: user.to_owned(), ..ann() }, Duration::MAX), Err(TokenError::User));
    }
}

#[test]
fn a_token_ends_with_its_last_second() {
    let key = new_signing_key().unwrap();
    let now_ms = Arc::new(AtomicU64::new(NOW_S * 1_000 + 300));
    let clock = Clock::new({
        let now_ms = Arc::clone(&now_ms);
        move || now_ms.load(Ordering::Relaxed)
    });
    let tokens = Tokens::new(SigningKey::from_pem(&key).unwrap(), &config::Token::default()).with_clock(clock);
    let token = tokens.issue(&ann(), Duration::from_mins(15)).unwrap();
    // The node that is asked first may have a clock that is behind.
    for (at_ms, taken) in [
        ((NOW_S - 61) * 1_000, Err(TokenError::Early)),
        ((NOW_S - 60) * 1_000, Ok(())),
        ((NOW_S + 900) * 1_000 - 1, Ok(())),
        ((NOW_S + 900) * 1_000, Err(TokenError::Expired)),
    ] {
        now_ms.store(at_ms, Ordering::Relaxed);
        assert_eq!(tokens.verify(&token).map(|_| ()), taken, "{at_ms}");
    }
}

#[test]
fn tokens_hold_over_one_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let read = || SigningKeys::read(folder.path()).unwrap().unwrap();
    let rotate = || crate::auth::keys::rotate(folder.path(), std::time::SystemTime::now(), true).unwrap();
    crate::auth::keys::Keys::open(folder.path()).unwrap();
    let tokens = Tokens::new(read(), &config::Token::default());
    let behind = Tokens::new(read(), &config::Token::default());
    let first = tokens.issue(&ann(), Duration::from_mins(1)).unwrap();
    rotate();
    assert!(tokens.replace(read()), "other keys");
    assert!(!tokens.replace(read()), "the same");
    let second = tokens.issue(&ann(), Duration::from_mins(1)).unwrap();
    assert!(tokens.verify(&first).is_ok() && tokens.verify(&second).is_ok());
    assert!(behind.verify(&second).is_ok(), "a node that has not looked yet knows the key as the next one");
    rotate();
    tokens.replace(read());
    assert_eq!(tokens.verify(&first), Err(TokenError::Key));
    assert!(tokens.verify(&second).is_ok());
}
