//! A server of this test's own, with certificates of an authority of its own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::client::account::{Account, AccountError};
use crate::client::{Client, SyncError};
use sync_core::id::DeviceId;

const TRIES: Duration = Duration::from_millis(1_500);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Authority { issuer: Issuer::new(params, key), der }
}

/// A server with a certificate for that name, which says of every token that it does not hold. Gives its address, and its pin.
fn server(authority: &Authority, name: &str, expired: bool) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let pin = STANDARD.encode(digest::digest(&digest::SHA256, &key.subject_public_key_info()));
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("localhost:0").unwrap());
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let mut heard = [0; 4096];
            if stream.read(&mut heard).is_ok_and(|bytes| bytes > 0) {
                let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).ok();
                stream.conn.send_close_notify();
                stream.flush().ok();
            }
        }
    });
    (url, pin)
}

/// Whether a client gets as far as to be told that its token does not hold.
fn reaches(url: &str, trust: Trust) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let builder = Client::builder(folder.path().join("store")).identity("ann", DeviceId::from_random([1; 16]));
    let client = builder.server(url).trust(trust).open().unwrap();
    client.set_token("any");
    match client.sync_once(TRIES) {
        Err(SyncError::NeedsAuth) => true,
        Err(SyncError::Offline) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_is_reached_where_its_certificate_and_its_key_are_right_and_else_it_is_not() {
    let ours = authority();
    let (url, pin) = server(&ours, "localhost", false);
    let trust = || Trust::default().root(ours.der.clone()).unwrap();
    assert!(reaches(&url, trust()));
    assert!(reaches(&url, trust().pin(&pin).unwrap()));
    let other = STANDARD.encode([7; 32]);
    assert!(reaches(&url, trust().pin(&other).unwrap().pin(&format!("sha256/{pin}")).unwrap()), "one of several");
    assert!(!reaches(&url, trust().pin(&other).unwrap()), "another key");
    assert!(!reaches(&url, Trust::default()), "an authority that nobody knows");
    assert!(!reaches(&url, Trust::default().pin(&pin).unwrap()), "a pin replaces no authority");
    assert!(!reaches(&server(&ours, "example.com", false).0, trust()), "another host");
    let (expired, pin) = server(&ours, "localhost", true);
    assert!(!reaches(&expired, trust().pin(&pin).unwrap()), "expired");
}

#[test]
fn account_routes_trust_the_same() {
    let ours = authority();
    let (url, _) = server(&ours, "localhost", false);
    let ask = |trust: Trust| Account::with_token(&url, "any").unwrap().trust(trust).devices();
    let trust = Trust::default().root(ours.der.clone()).unwrap();
    assert!(!matches!(ask(trust.clone()), Err(AccountError::Offline)));
    let wrong = trust.pin(&STANDARD.encode([7; 32])).unwrap();
    assert!(matches!(ask(wrong), Err(AccountError::Offline)));
}

#[test]
fn authorities_come_along_where_the_system_has_none() {
    assert!(or_bundled(Vec::new()).len() > 50);
    let one = or_bundled(vec![CertificateDer::from(authority().der)]);
    assert_eq!(one.len(), 1, "and only there");
}

#[test]
fn what_is_no_pin_is_said() {
    for pin in ["", "sha256/", "rubbish", "AAAA"] {
        assert_eq!(Trust::default().pin(pin), Err(BadTrust::Pin { pin: pin.into() }));
    }
    assert_eq!(Trust::default().root(b"rubbish".to_vec()), Err(BadTrust::Root));
}
