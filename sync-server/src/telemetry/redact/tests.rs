//! What is taken out of lines, and what is left in them.

use super::*;

/// A card number that passes Luhn's check, and belongs to nobody.
const CARD: &str = "4111111111111111";
const JWT: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";

fn of(line_text: &str) -> String {
    String::from_utf8(line(format!("{line_text}\n").as_bytes()).into_owned()).unwrap()
}

fn passes(text: &str) {
    assert_eq!(of(text), format!("{text}\n"));
    assert!(matches!(line(text.as_bytes()), Cow::Borrowed(_)));
}

/// A line with the text in a field of no name in particular.
fn message(text: &str) -> String {
    let line = of(&serde_json::json!({ "level": "INFO", "message": text }).to_string());
    let value: Value = serde_json::from_str(&line).unwrap();
    value["message"].as_str().unwrap().to_owned()
}

#[test]
fn lines_without_secrets_pass_as_they_are() {
    passes(
        r#"{"timestamp":"2026-10-08T12:00:00.123456Z","level":"INFO","request_id":"4111111111111111-7","user":"ann","device":"41111111-1111-1111-8111-111111111111","method":"POST","route":"/v1/sync","status":200,"address":"203.0.113.9","platform":"ios","app_version":"2.4.1","latency_us":1234567,"bytes_in":4096,"bytes_out":512,"message":"request","target":"sync_server::router::observe"}"#,
    );
    passes(r#"{"status":404,"code":"not_found","cause":null,"message":"request"}"#);
    passes(r#"{"code":1001,"ended_by":"server","message":"connection"}"#);
    passes(r#"{"user":"ann@example.org","message":"request"}"#);
    for text in [
        "the storage is unavailable: timed out waiting for connection",
        "listening on http://127.0.0.1:8787",
        "1790000000123 is a time, 4111111111111112 no card, 12345678901234567890 too long",
        "JSON, Data at 1:17",
        "opened /var/lib/rejoin in 12.5 s",
        "the signing key is 0123456789abcdef",
    ] {
        assert_eq!(message(text), text);
    }
}

#[test]
fn fields_are_taken_out_by_their_names_at_any_depth() {
    for name in [
        "password",
        "Password",
        "new_password",
        "authorization",
        "Proxy-Authorization",
        "cookie",
        "set-cookie",
        "token",
        "access_token",
        "refresh_token",
        "id_token",
        "code_verifier",
        "client_secret",
        "secret",
        "email",
        "user_code",
        "device_code",
        "idempotency_key",
        "idempotency-key",
        "api_key",
        "x_api_key",
        "nonce",
        "display_name",
        "device_name",
    ] {
        let line = serde_json::json!({ "a": [{ name: "hunter2", "kept": 1 }], name: { "inner": ["hunter2"] } });
        let redacted = of(&line.to_string());
        assert!(!redacted.contains("hunter2"), "{name}: {redacted}");
        assert!(redacted.contains("\"kept\":1"), "{name}: {redacted}");
        let number = of(&serde_json::json!({ name: 24_680_135 }).to_string());
        assert!(!number.contains("24680135"), "{name}: {number}");
    }
    let code = of(r#"{"code":"SplxlOBeZQQYbYS6WxSbIA"}"#);
    assert!(code.contains(REDACTED), "{code}");
}

#[test]
fn texts_are_taken_out_by_their_shapes() {
    for (text, secret) in [
        (format!("not a token: {JWT}"), "c2lnbmF0dXJl"),
        (JWT.to_owned(), "eyJ"),
        (format!("cut off {}", &JWT[..40]), "eyJ"),
        ("a refresh token rjr_A1b2C3d4E5f6 and an invite rji_Zz9Yy8Xx7".to_owned(), "A1b2C3d4E5f6"),
        ("an invite rji_Zz9Yy8Xx7".to_owned(), "Zz9Yy8Xx7"),
        ("header: Bearer abc.def-123".to_owned(), "abc.def-123"),
        ("authorization: Basic YW5uOmh1bnRlcjI=".to_owned(), "YW5uOmh1bnRlcjI="),
        (format!("paid with {CARD}."), CARD),
        ("paid with 4111 1111 1111 1111".to_owned(), "1111 1111"),
        ("paid with 3782-822463-10005".to_owned(), "822463"),
        ("POST /v1/x?password=hunter2&a=1".to_owned(), "hunter2"),
        ("grant_type=refresh_token&refresh_token=hunter2".to_owned(), "hunter2"),
        ("GET /callback?state=1&code=hunter2".to_owned(), "hunter2"),
        ("next=%3Fpassword%3Dhunter2".to_owned(), "hunter2"),
        ("postgres://rejoin:hunter2@db.example.com/rejoin".to_owned(), "hunter2"),
        ("redis://:hunter2@redis.example.com:6379".to_owned(), "hunter2"),
        (r#"body {"email":"a","password":"hunter 2 \" x"} end"#.to_owned(), "hunter"),
        (r#"twice {\"password\":\"hunter2\"} end"#.to_owned(), "hunter2"),
        (r#"Request { password: "hunter2", token: Some("hunter2") }"#.to_owned(), "hunter2"),
        (r#"Password("hunter2")"#.to_owned(), "hunter2"),
        ("cookie: session=hunter2".to_owned(), "hunter2"),
        ("no account of ann@example.org".to_owned(), "ann@"),
        ("no account of ann%40example.org".to_owned(), "ann%40"),
        ("-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----".to_owned(), "MIGHAgEA"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a".to_owned(), "16C7e42F"),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc".to_owned(), "4eC39HqL"),
        ("AKIAIOSFODNN7EXAMPLE".to_owned(), "IOSFODNN7"),
    ] {
        let redacted = message(&text);
        assert!(!redacted.contains(secret), "{text}: {redacted}");
        assert!(redacted.contains(REDACTED), "{text}: {redacted}");
    }
}

#[test]
fn what_stands_around_a_secret_stays() {
    assert_eq!(message("postgres://rejoin:hunter2@db/x"), "postgres://(redacted)@db/x");
    assert_eq!(message("GET /x?password=hunter2&a=1 failed"), "GET /x?password=(redacted)&a=1 failed");
    assert_eq!(message(&format!("card {CARD}, refused")), "card (redacted), refused");
}

#[test]
fn numbers_can_be_cards_too() {
    assert!(!of(&format!("{{\"value\":{CARD}}}")).contains(CARD));
    passes(r#"{"at_ms":1790000000123,"bytes":4111111111111112}"#);
}

#[test]
fn what_is_no_json_is_redacted_all_the_same() {
    let redacted = of("not json: password=hunter2");
    assert_eq!(redacted, "not json: password=(redacted)\n");
    assert!(!String::from_utf8_lossy(&line(b"\xff password=hunter2")).contains("hunter2"));
}

#[test]
fn a_redacted_line_is_one_line_of_json() {
    let redacted = of(r#"{"message":"a\nb token=hunter2"}"#);
    assert_eq!(redacted.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Value>(&redacted).unwrap()["message"], "a\nb token=(redacted)");
}

/// Every expression finds something that no other does, so that none of them is there for nothing.
#[test]
fn each_shape_is_needed() {
    let cases: [(&Regex, &str); 7] = [
        (&WHOLE, JWT),
        (&SCHEMES, "Bearer abcd"),
        (&PAIRS, "token=abcd"),
        (&QUERY_CODE, "?code=abcd"),
        (&CREDENTIALS, "http://a:b@c"),
        (&ADDRESSES, "a@b.example"),
        (&CARDS, CARD),
    ];
    let all = [&*WHOLE, &SCHEMES, &PAIRS, &QUERY_CODE, &CREDENTIALS, &ADDRESSES, &CARDS];
    for (expression, text) in cases {
        assert!(SUSPICIOUS.is_match(text.as_bytes()) || has_many_digits(text.as_bytes()), "{text}");
        let finders = all.iter().filter(|other| other.is_match(text)).count();
        assert!(expression.is_match(text) && finders == 1, "{text}: {finders}");
    }
}

/// What a line costs: told by `cargo test -p sync-server --release --lib redact -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_a_line_costs() {
    let plain = br#"{"timestamp":"2026-10-08T12:00:00.123456Z","level":"INFO","request_id":"0123456789abcdef-7","user":"ann","device":"4fa1c0de-11b1-4e11-8a11-0123456789ab","method":"POST","route":"/v1/sync","status":200,"address":"203.0.113.9","latency_us":1234567,"bytes_in":4096,"bytes_out":512,"message":"request","target":"sync_server::router::observe"}"#;
    let with = br#"{"timestamp":"2026-10-08T12:00:00.123456Z","level":"WARN","request_id":"0123456789abcdef-7","cause":"password=hunter2","status":500,"message":"request","target":"sync_server::router::observe"}"#;
    for (name, text) in [("without a secret", plain.as_slice()), ("with one", with)] {
        let started = std::time::Instant::now();
        for _ in 0..100_000 {
            std::hint::black_box(line(std::hint::black_box(text)));
        }
        println!("{name}: {:?} a line", started.elapsed() / 100_000);
    }
}
