//! Refusals, strangers and lost answers: what the app is told, and how often is asked.

use std::time::Duration;

use sync_client_ffi::account::{Account, AccountError, NewDevice, Proof};
use sync_core::wire::ErrorCode;
use sync_tests::desk::{Answers, Desk, refusal};

use super::{only, says, with_token};

#[test]
fn each_refusal_has_an_error_that_says_what_to_do() {
    let message = || "`x` must be y.".to_owned();
    let second = Duration::from_secs(1);
    let table = [
        (401, ErrorCode::LoginFailed, AccountError::LoginFailed),
        (429, ErrorCode::RateLimited, AccountError::RateLimited { retry_after: second }),
        (401, ErrorCode::Unauthorized, AccountError::SessionEnded),
        (401, ErrorCode::SessionEnded, AccountError::SessionEnded),
        (401, ErrorCode::DeviceRevoked, AccountError::DeviceRevoked),
        (403, ErrorCode::Forbidden, AccountError::Forbidden),
        (404, ErrorCode::NotFound, AccountError::NotFound),
        (409, ErrorCode::LastOwner, AccountError::LastOwner),
        (409, ErrorCode::TooMany, AccountError::TooMany { message: message() }),
        (400, ErrorCode::Invalid, AccountError::Invalid { message: message() }),
        (426, ErrorCode::UpgradeRequired, AccountError::UpgradeRequired { update_url: None }),
        (503, ErrorCode::Busy, AccountError::Unavailable { retry_after: None }),
        (503, ErrorCode::Unavailable, AccountError::Unavailable { retry_after: None }),
        (500, ErrorCode::Internal, AccountError::Server { message: message(), request_id: "r-1".into() }),
        (418, ErrorCode::Unknown, AccountError::Server { message: message(), request_id: "r-1".into() }),
    ];
    for (status, code, expected) in table {
        for json in [false, true] {
            let desk =
                says(move || if json { Answers::json(status, &refusal(code)) } else { Answers::refusal(status, code) });
            assert_eq!(with_token(&desk).spaces(), Err(expected.clone()), "{code:?}");
            // One refusal is enough: it is not asked again for the same.
            only(&desk);
        }
    }
}

#[test]
fn what_the_server_says_about_waiting_is_kept() {
    let told = refusal(ErrorCode::RateLimited);
    let told = sync_core::wire::ErrorResponse { retry_after_ms: Some(1_500), ..told };
    let desk = says(move || Answers::frame(429, &told));
    let error = with_token(&desk).spaces().unwrap_err();
    assert_eq!(error, AccountError::RateLimited { retry_after: Duration::from_millis(1_500) });
    assert_eq!(error.to_string(), "too many tries: wait 2 seconds and try again");
    let proxy = says(|| Answers::With(503, "text/html", Vec::new(), "Retry-After: 7\r\n".into()));
    let error = with_token(&proxy).spaces().unwrap_err();
    assert_eq!(error, AccountError::Unavailable { retry_after: Some(Duration::from_secs(7)) });
}

#[test]
fn strangers_are_not_believed() {
    let elsewhere = says(Answers::nothing);
    let there = format!("Location: {}/v1/spaces\r\n", elsewhere.url());
    let redirect = move || Answers::With(307, "text/html", Vec::new(), there.clone());
    let huge = || Answers::With(200, "application/msgpack", vec![0xc0; 13 << 20], String::new());
    let desks = [
        says(|| Answers::page(200)),
        says(|| Answers::page(401)),
        says(|| Answers::page(404)),
        says(redirect),
        says(huge),
        says(|| Answers::With(200, "application/json", b"[[[[".to_vec(), String::new())),
    ];
    for desk in &desks {
        assert_eq!(with_token(desk).spaces(), Err(AccountError::NotUnderstood));
    }
    assert_eq!(elsewhere.asked.count(), 0, "a token went where a redirect pointed");
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    let desk = says(|| Answers::Silence);
    assert_eq!(with_token(&desk).create_space("Family"), Err(AccountError::Offline));
    let all = desk.all();
    assert_eq!(all.len(), 2);
    assert!(all[0].key.as_ref().is_some_and(|key| key.len() == 32));
    assert_eq!(all[0], all[1]);
    // What has no key would be done twice.
    let desk = says(|| Answers::Silence);
    let proof = Proof::Password { email: "a@b".into(), password: "p".into() };
    let (name, platform, app_version) = ("laptop".into(), "linux".into(), "1".into());
    let device = NewDevice { device: None, name, platform, app_version, public_key: None };
    let signed_in = Account::new(&desk.url()).unwrap().sign_in(proof, device);
    assert_eq!(signed_in, Err(AccountError::Offline));
    only(&desk);
}

#[test]
fn without_a_server_or_a_token_nothing_is_asked() {
    let desk = Desk::start(|_| Answers::nothing());
    assert_eq!(Account::new(&desk.url()).unwrap().spaces(), Err(AccountError::NotSignedIn));
    assert_eq!(desk.asked.count(), 0);
    let url = desk.url();
    drop(desk);
    assert_eq!(Account::with_token(&url, "token").unwrap().spaces(), Err(AccountError::Offline));
    for address in ["", "sync.example.com", "ftp://sync.example.com", "http://", "mailto:ann@example.com"] {
        assert!(matches!(Account::new(address), Err(AccountError::BadAddress { .. })), "{address}");
    }
}

#[test]
fn inside_an_async_runtime_it_works_as_well() {
    let desk = says(|| Answers::refusal(404, ErrorCode::NotFound));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(async { with_token(&desk).spaces() });
    assert_eq!(answer, Err(AccountError::NotFound));
}
