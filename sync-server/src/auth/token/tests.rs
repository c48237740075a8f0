//! Every way to forge a token that we know of.

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::auth::keys::new_signing_key;

fn tokens(key: &[u8]) -> Tokens {
    Tokens::new(SigningKey::from_pem(key).unwrap(), &config::Token::default())
}

fn ann() -> Caller {
    Caller { user: "ann".to_owned(), device: DeviceId::from_bytes([7; 16]) }
}

/// A token as we issue them, but for `change`, signed with that key.
fn forged(key: &[u8], change: impl FnOnce(&mut Header, &mut Value)) -> String {
    let signing = SigningKey::from_pem(key).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(signing.id.clone());
    let mut claims = json!({
        "iss": "rejoin", "aud": "rejoin", "sub": "ann", "device": ann().device.to_string(),
        "iat": now, "nbf": now, "exp": now + 60,
    });
    change(&mut header, &mut claims);
    let encoding = match header.alg {
        Algorithm::HS256 => EncodingKey::from_secret(signing.decoding.try_get_as_bytes().unwrap()),
        _ => signing.encoding,
    };
    encode(&header, &claims, &encoding).unwrap()
}

#[test]
fn an_issued_token_is_taken() {
    let key = new_signing_key().unwrap();
    let tokens = tokens(&key);
    let access = tokens.verify(&tokens.issue(&ann(), Duration::from_mins(1)).unwrap()).unwrap();
    assert_eq!(access.caller, ann());
    assert!(access.left() <= Duration::from_mins(1) && access.left() > Duration::from_secs(50));
    assert!(tokens.verify(&forged(&key, |_, _| ())).is_ok(), "the forger's blueprint is good");
}

#[test]
fn forged_tokens_are_not() {
    let (key, foreign) = (new_signing_key().unwrap(), new_signing_key().unwrap());
    let tokens = tokens(&key);
    let id = tokens.key.id.clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
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
        ("another key under our id", forged(&foreign, |header, _| header.kid = Some(id))),
        ("another key", forged(&foreign, |_, _| ())),
        ("no key id", forged(&key, |header, _| header.kid = None)),
        ("an ID token", forged(&key, |header, _| header.typ = Some("JWT".to_owned()))),
        ("no type", forged(&key, |header, _| header.typ = None)),
        ("critical extensions", forged(&key, |header, _| header.crit = Some(vec!["b64".to_owned()]))),
        ("another issuer", forged(&key, |_, claims| claims["iss"] = json!("staging"))),
        ("another audience", forged(&key, |_, claims| claims["aud"] = json!("other"))),
        ("expired by a second", forged(&key, |_, claims| claims["exp"] = json!(now - 1))),
        ("not valid yet", forged(&key, |_, claims| claims["nbf"] = json!(now + 60))),
        ("no expiry", forged(&key, |_, claims| claims["exp"] = Value::Null)),
        ("no user", forged(&key, |_, claims| claims["sub"] = json!(""))),
        ("a long user", forged(&key, |_, claims| claims["sub"] = json!("x".repeat(256)))),
        ("no device", forged(&key, |_, claims| claims["device"] = Value::Null)),
        ("not a device", forged(&key, |_, claims| claims["device"] = json!("phone"))),
        ("a huge one", "x".repeat(TOKEN_BYTES_MAX + 1)),
    ];
    for (what, token) in table {
        assert!(tokens.verify(&token).is_err(), "{what}: {token}");
    }
    for user in ["", "an\0n"] {
        assert_eq!(tokens.issue(&Caller { user: user.to_owned(), ..ann() }, Duration::MAX), Err(TokenError::User));
    }
}
