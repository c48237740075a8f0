//! What each call asks, and what it makes of the answer.

use sync_client_ffi::account::{
    Account, AccountError, DeviceOfCaller, InviteResponse, Member, NewDevice, OpenInvite, Proof, Role, SpaceOfCaller,
};
use sync_client_ffi::{DeviceId, SpaceId};
use sync_core::wire::SCHEMA;
use sync_core::wire::account::{
    AcceptInviteRequest, ApproveDeviceRequest, CreateSpaceRequest, DevicesResponse, InviteRequest, InvitesResponse,
    LogoutRequest, MembersResponse, RegisterRequest, RenameDeviceRequest, SetRoleRequest, SignUpRequest,
    SpacesResponse,
};
use sync_tests::desk::{Answers, Asked};
use sync_tests::rig::device;

use super::{LONG, access, only, rules, says, with_token};

fn space() -> SpaceId {
    SpaceId::from_random([7; 16])
}

fn a_space() -> SpaceOfCaller {
    SpaceOfCaller { space: space(), role: Role::Owner, name: Some("Family".into()) }
}

/// Makes a call with a token, and gives the one request that it was and what came of it.
fn asked<T>(
    answer: impl Fn() -> Answers + Send + Sync + 'static,
    call: impl FnOnce(&Account) -> Result<T, AccountError>,
) -> (Asked, T) {
    let desk = says(answer);
    let got = call(&with_token(&desk)).unwrap();
    let asked = only(&desk);
    assert_eq!(asked.token.as_deref(), Some("token"));
    // What may be asked twice after a lost answer carries a name by which the server knows it again.
    assert_eq!(asked.key.is_some(), asked.method == "POST");
    (asked, got)
}

#[test]
fn devices() {
    let one = DeviceOfCaller {
        device: device(1),
        name: "laptop".into(),
        platform: "linux".into(),
        app_version: "1.0".into(),
        created_ms: 1,
        seen_ms: 2,
        signed_in: true,
        current: true,
    };
    let list = DevicesResponse { schema: SCHEMA, devices: vec![one.clone()] };
    let (request, got) = asked(move || Answers::frame(200, &list), Account::devices);
    assert_eq!((request.line().as_str(), got), ("GET /v1/devices", vec![one]));

    let path = format!("/v1/devices/{}", device(2));
    let (request, ()) = asked(Answers::nothing, |account| account.rename_device(device(2), "phone"));
    assert_eq!(request.line(), format!("PATCH {path}"));
    assert_eq!(request.frame::<RenameDeviceRequest>(), RenameDeviceRequest { schema: SCHEMA, name: "phone".into() });

    let (request, ()) = asked(Answers::nothing, |account| account.revoke_device(device(2)));
    assert_eq!((request.line(), request.body.len()), (format!("DELETE {path}"), 0));

    let (request, ()) = asked(Answers::nothing, |account| account.log_out(true));
    assert_eq!(request.line(), "POST /v1/logout");
    assert_eq!(request.frame::<LogoutRequest>(), LogoutRequest { schema: SCHEMA, all: true });

    let (request, ()) = asked(Answers::nothing, |account| account.approve_companion("BCDF-GHJK", true));
    assert_eq!(request.line(), "POST /v1/oauth/device/approve");
    let frame = ApproveDeviceRequest { schema: SCHEMA, user_code: "BCDF-GHJK".into(), approve: true };
    assert_eq!(request.frame::<ApproveDeviceRequest>(), frame);
}

#[test]
fn spaces_and_members() {
    let list = SpacesResponse { schema: SCHEMA, spaces: vec![a_space()] };
    let (request, got) = asked(move || Answers::frame(200, &list), Account::spaces);
    assert_eq!((request.line().as_str(), got), ("GET /v1/spaces", vec![a_space()]));

    let (request, got) = asked(|| Answers::frame(201, &a_space()), |account| account.create_space("Family"));
    assert_eq!((request.line().as_str(), got), ("POST /v1/spaces", a_space()));
    assert_eq!(request.frame::<CreateSpaceRequest>(), CreateSpaceRequest { schema: SCHEMA, name: "Family".into() });

    let member = Member { user: "local:1".into(), display_name: None, role: Role::Owner };
    let list = MembersResponse { schema: SCHEMA, members: vec![member.clone()] };
    let path = format!("/v1/spaces/{}/members", space());
    let (request, got) = asked(move || Answers::frame(200, &list), |account| account.members(space()));
    assert_eq!((request.line(), got), (format!("GET {path}"), vec![member]));

    // A user's id is not taken for a part of the path, whatever it is.
    let user = "google:a/../b?c#d%2F é";
    let escaped = "google:a%2F..%2Fb%3Fc%23d%252F%20%C3%A9";
    let (request, ()) = asked(Answers::nothing, |account| account.set_role(space(), user, Role::Reader));
    assert_eq!(request.line(), format!("PUT {path}/{escaped}"));
    assert_eq!(request.frame::<SetRoleRequest>(), SetRoleRequest { schema: SCHEMA, role: Role::Reader });
    let (request, ()) = asked(Answers::nothing, |account| account.remove_member(space(), user));
    assert_eq!(request.line(), format!("DELETE {path}/{escaped}"));
}

#[test]
fn invitations() {
    let invite = uuid::Uuid::from_bytes([9; 16]);
    let made = InviteResponse { schema: SCHEMA, invite, token: "rji_x".into(), link: None, expires_ms: 5 };
    let path = format!("/v1/spaces/{}/invites", space());
    let answer = made.clone();
    let call = |account: &Account| account.invite(space(), Role::Writer, Some(60));
    let (request, got) = asked(move || Answers::frame(201, &answer), call);
    assert_eq!((request.line(), got), (format!("POST {path}"), made));
    let frame = InviteRequest { schema: SCHEMA, role: Role::Writer, expires_in: Some(60) };
    assert_eq!(request.frame::<InviteRequest>(), frame);

    let open = OpenInvite { invite, role: Role::Writer, by: "ann".into(), expires_ms: 5 };
    let list = InvitesResponse { schema: SCHEMA, invites: vec![open.clone()] };
    let (request, got) = asked(move || Answers::frame(200, &list), |account| account.invites(space()));
    assert_eq!((request.line(), got), (format!("GET {path}"), vec![open]));

    let call = |account: &Account| account.revoke_invite(space(), &invite.to_string());
    let (request, ()) = asked(Answers::nothing, call);
    assert_eq!(request.line(), format!("DELETE {path}/{invite}"));

    let (request, got) = asked(|| Answers::frame(200, &a_space()), |account| account.accept("rji_x"));
    assert_eq!((request.line().as_str(), got), ("POST /v1/invites/accept", a_space()));
    let frame = AcceptInviteRequest { schema: SCHEMA, token: "rji_x".into() };
    assert_eq!(request.frame::<AcceptInviteRequest>(), frame);
}

#[test]
fn signing_up_and_in() {
    let desk = says(|| Answers::With(202, "application/msgpack", vec![0x80], String::new()));
    Account::new(&desk.url()).unwrap().sign_up("ann@example.com", "Long-Enough-1", "Ann").unwrap();
    let asked = only(&desk);
    assert_eq!((asked.line().as_str(), &asked.token), ("POST /v1/accounts", &None));
    let frame = SignUpRequest {
        schema: SCHEMA,
        email: "ann@example.com".into(),
        password: "Long-Enough-1".into(),
        display_name: "Ann".into(),
    };
    assert_eq!(asked.frame::<SignUpRequest>(), frame);

    let tokens = rules(LONG).tokens(access);
    let desk = says(move || Answers::frame(200, &tokens));
    let proof = Proof::Password { email: "ann@example.com".into(), password: "Long-Enough-1".into() };
    // An address with a path, and a slash too many.
    let account = Account::new(&format!("{}/rejoin/", desk.url())).unwrap();
    let before_ms = now_ms();
    let got = account.sign_in(proof.clone(), new_device(Some(device(1)))).unwrap();
    let asked = only(&desk);
    assert_eq!(asked.line(), "POST /rejoin/v1/devices");
    let mut frame = asked.frame::<RegisterRequest>();
    let public_key = frame.device.public_key.take().unwrap();
    assert_eq!(frame, RegisterRequest { schema: SCHEMA, proof, device: new_device(Some(device(1))) });
    assert!(public_key.len() == 43 && got.device_key.is_some(), "it has a key of its own");
    assert_eq!((got.user.as_str(), got.device), ("ann", device(1)));
    assert_eq!(
        (got.server.as_str(), got.refresh_token.0.as_str()),
        (format!("{}/rejoin", desk.url()).as_str(), "rjr_0")
    );
    // It counts from when it was asked for, so it is never believed for longer than the server does.
    let lifetime_ms = LONG.as_millis() as u64;
    assert!((before_ms + lifetime_ms..=now_ms() + lifetime_ms).contains(&got.access_expires_ms));
}

#[test]
fn a_companion_asks_until_it_is_let_in() {
    let tokens = rules(LONG).tokens(access);
    let answers = std::sync::Mutex::new(vec![
        Answers::json(200, &tokens),
        oauth("slow_down"),
        oauth("authorization_pending"),
        Answers::json(
            200,
            &serde_json::json!({
                "device_code": "rjd_secret",
                "user_code": "BCDF-GHJK",
                "verification_uri": "https://sync.example.com/v1/oauth/device",
                "expires_in": 600,
                "interval": 5,
            }),
        ),
    ]);
    let desk = says(move || answers.lock().unwrap().pop().unwrap());
    let account = Account::new(&desk.url()).unwrap();
    let mut code = account.begin_companion("notes").unwrap();
    assert!(!format!("{code:?}").contains("secret"));
    assert_eq!(code.user_code, "BCDF-GHJK");
    let device = new_device(None);
    assert_eq!(account.poll_companion(&mut code, &device).unwrap(), None);
    assert_eq!(code.interval.as_secs(), 5);
    assert_eq!(account.poll_companion(&mut code, &device).unwrap(), None);
    assert_eq!(code.interval.as_secs(), 10, "it was told to slow down");
    assert_eq!(account.poll_companion(&mut code, &device).unwrap().unwrap().user, "ann");
    let all = desk.all();
    assert_eq!(
        (all[0].line().as_str(), all[0].field("client_id").as_deref()),
        ("POST /v1/oauth/device_authorization", Some("notes"))
    );
    let fields = ["grant_type", "device_code", "client_id", "device_name", "platform", "app_version", "device_id"];
    let sent = fields.map(|name| all[3].field(name));
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let expected = [Some(grant), Some("rjd_secret"), Some("notes"), Some("laptop"), Some("linux"), Some("1.0"), None];
    assert_eq!(sent.each_ref().map(Option::as_deref), expected);
}

#[test]
fn a_companion_that_is_not_let_in_is_told_why() {
    for (word, expected) in [("access_denied", AccountError::Denied), ("expired_token", AccountError::CodeExpired)] {
        let first = std::sync::Mutex::new(true);
        let desk = says(move || {
            if std::mem::take(&mut *first.lock().unwrap()) {
                let body = serde_json::json!({
                    "device_code": "c", "user_code": "u", "verification_uri": "v", "expires_in": 600,
                });
                return Answers::json(200, &body);
            }
            oauth(word)
        });
        let account = Account::new(&desk.url()).unwrap();
        let mut code = account.begin_companion("notes").unwrap();
        assert_eq!(account.poll_companion(&mut code, &new_device(None)), Err(expected));
    }
}

fn oauth(error: &str) -> Answers {
    let body = serde_json::json!({ "error": error, "code": "invalid", "message": "m", "request_id": "r" });
    Answers::json(400, &body)
}

fn new_device(device: Option<DeviceId>) -> NewDevice {
    let (name, platform, app_version) = ("laptop".into(), "linux".into(), "1.0".into());
    NewDevice { device, name, platform, app_version, public_key: None }
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}
