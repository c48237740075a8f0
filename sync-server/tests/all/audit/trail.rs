//! What was done is found with `sync-server audit`: under whom it concerns, with the device, the space, and the request.

use std::collections::BTreeSet;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use sync_core::id::{DeviceId, SpaceId};
use sync_core::wire::account::{InviteResponse, SpaceOfCaller, TokenResponse};
use sync_server::Clock;
use sync_server::store::audit::{APPEND_ROWS_MAX, AuditFilter, AuditId, AuditRow, PAGE_ROWS_MAX};

use crate::accounts::{EMAIL, PASSWORD, sign_in};
use crate::binary::binary;
use crate::companions::{DEVICE_GRANT, Fields, allowed, device_fields, house, post, redeem, with};
use crate::devices::{call, refresh, refreshed, signed_in};
use crate::world::{World, frame};

/// What is to be found.
struct Wanted {
    kind: &'static str,
    user: String,
    device: Option<DeviceId>,
    space: Option<SpaceId>,
    request: String,
    detail: Option<String>,
}

/// What the command shows, the newest first.
async fn shown(world: &World, arguments: &[&str]) -> Vec<Value> {
    let mut command = binary(world.folder.path(), &[&["audit", "--json"], arguments].concat());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Default)]
struct Trail(Vec<Wanted>);

impl Trail {
    /// That request has left this. It says who is concerned.
    fn left(&mut self, request: &Request, kind: &'static str, user: &str, device: Option<DeviceId>) -> &mut Wanted {
        let (user, request) = (user.to_owned(), request.0.clone());
        self.0.push(Wanted { kind, user, device, space: None, request, detail: None });
        self.0.last_mut().unwrap()
    }

    /// Exactly that is shown, each once.
    async fn is_shown(&self, world: &World) {
        let shown = shown(world, &["--limit", "1000"]).await;
        for wanted in &self.0 {
            let Wanted { kind, user, device, space, request, detail } = wanted;
            let of_request = |line: &&Value| line["audit"] == *kind && line["request_id"] == request.as_str();
            let found: Vec<&Value> = shown.iter().filter(of_request).collect();
            let [line] = found[..] else { panic!("{kind} of {request}, {} times: {shown:#?}", found.len()) };
            assert_eq!(line["user"], user.as_str(), "{kind}");
            assert_eq!(line["device"], json!(device.map(|device| device.to_string())), "{kind}");
            assert_eq!(line["space"], json!(space.map(|space| space.to_string())), "{kind}");
            assert_eq!(line["address"], "127.0.0.1", "{kind}");
            if let Some(detail) = detail {
                assert_eq!(line["detail"], detail.as_str(), "{kind}");
            }
        }
        // Nothing else came of these requests.
        let all = shown.iter().filter(|line| self.0.iter().any(|wanted| line["request_id"] == wanted.request.as_str()));
        assert_eq!(all.count(), self.0.len(), "{shown:#?}");
    }
}

/// The id of a request.
struct Request(String);

/// The id of a request that was answered with that status.
fn answered(response: &Response, status: u16) -> Request {
    assert_eq!(response.status(), status);
    Request(response.headers()["x-request-id"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_sign_in_a_failed_one_a_revocation_and_a_log_out() {
    let (world, _) = house().await;
    let mut trail = Trail::default();
    let answer = sign_in(&world, EMAIL, PASSWORD).await;
    let request = answered(&answer, 201);
    let ann: TokenResponse = frame(answer).await;
    trail.left(&request, "signin.done", &ann.user, Some(ann.device));
    trail.left(&request, "device.registered", &ann.user, Some(ann.device)).detail = Some("ios".to_owned());

    let (lost, left) = (signed_in(&world, &ann.user).await, signed_in(&world, &ann.user).await);
    let path = format!("/v1/devices/{}", lost.device);
    let answer = call(&world, &ann, Method::DELETE, &path, None).await;
    trail.left(&answered(&answer, 204), "device.revoked", &ann.user, Some(lost.device));
    // It was revoked before.
    assert_eq!(call(&world, &ann, Method::DELETE, &path, None).await.status(), 204);
    let answer = call(&world, &left, Method::POST, "/v1/logout", Some(json!({ "schema": 1 }))).await;
    let event = trail.left(&answered(&answer, 204), "session.log_out", &ann.user, Some(left.device));
    event.detail = Some("1 sessions".to_owned());
    trail.is_shown(&world).await;

    assert_eq!(shown(&world, &["--kind", "device.revoked"]).await.len(), 1, "once");

    let request = answered(&sign_in(&world, EMAIL, "Wrong horse 77").await, 401);
    let failed = shown(&world, &["--kind", "signin.failed"]).await;
    let [failed] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!((&failed["request_id"], &failed["address"]), (&json!(request.0), &json!("127.0.0.1")));
    assert!(failed["user"].is_string() && !failed.to_string().contains("ann@"), "{failed}");

    // Two of the devices were signed in by the app's own means: no request is invented for them.
    let signed_in = shown(&world, &["--kind", "signin.done", "--user", &ann.user]).await;
    let without = signed_in.iter().filter(|line| line["request_id"].is_null() && line["address"].is_null());
    assert_eq!((signed_in.len(), without.count()), (3, 2), "{signed_in:#?}");
}

#[tokio::test]
async fn a_theft_of_a_refresh_token_or_of_a_code() {
    let (world, _) = house().await;
    let mut trail = Trail::default();
    let first = signed_in(&world, "ann").await;
    let third = refreshed(&world, &refreshed(&world, &first).await).await;
    let answer = refresh(&world, &first.refresh_token.0, first.device).await;
    let request = answered(&answer, 400);
    trail.left(&request, "session.refresh_theft", "ann", Some(first.device));
    // The family has ended; that it is used again is no second theft.
    assert_eq!(refresh(&world, &third.refresh_token.0, first.device).await.status(), 400);

    let (phone, eve) = (signed_in(&world, "ann").await, signed_in(&world, "eve").await);
    let answer = refresh(&world, &phone.refresh_token.0, eve.device).await;
    trail.left(&answered(&answer, 400), "session.refresh_theft", "ann", Some(phone.device));

    let ann = signed_in(&world, "ann").await;
    let tv = post(&world, "/v1/oauth/device_authorization", &with(Fields::new(), &[("client_id", "tv")])).await;
    let tv: Value = serde_json::from_slice(&tv.bytes().await.unwrap()).unwrap();
    let body = json!({ "schema": 1, "user_code": tv["user_code"], "approve": true });
    let answer = call(&world, &ann, Method::POST, "/v1/oauth/device/approve", Some(body)).await;
    let event = trail.left(&answered(&answer, 204), "companion.approved", "ann", Some(ann.device));
    event.detail = Some("tv, by the code that it showed".to_owned());
    let code = tv["device_code"].as_str().unwrap();
    let fields = with(device_fields(), &[("grant_type", DEVICE_GRANT), ("client_id", "tv"), ("device_code", code)]);
    let answer = redeem(&world, &fields).await;
    let request = answered(&answer, 200);
    let tokens: TokenResponse = frame(answer).await;
    trail.left(&request, "signin.done", "ann", Some(tokens.device));
    trail.left(&request, "device.registered", "ann", Some(tokens.device));
    let answer = redeem(&world, &fields).await;
    let event = trail.left(&answered(&answer, 400), "session.refresh_theft", "ann", Some(tokens.device));
    event.detail = Some("a code for tv was redeemed twice".to_owned());
    trail.is_shown(&world).await;
    assert_eq!(shown(&world, &["--kind", "session.refresh_theft"]).await.len(), 3);
}

#[tokio::test]
async fn a_companion_that_was_let_in_with_a_browser() {
    let (world, _) = house().await;
    let ann: TokenResponse = frame(sign_in(&world, EMAIL, PASSWORD).await).await;
    let answer = post(&world, "/v1/oauth/authorize", &allowed()).await;
    let mut trail = Trail::default();
    let event = trail.left(&answered(&answer, 303), "companion.approved", &ann.user, None);
    event.detail = Some("desktop, in a browser".to_owned());
    trail.is_shown(&world).await;
}

#[tokio::test]
async fn who_was_let_into_a_space_given_another_role_and_removed() {
    let world = World::new().await;
    let mut trail = Trail::default();
    let (ann, bob, carl) =
        (signed_in(&world, "ann").await, signed_in(&world, "bob").await, signed_in(&world, "carl").await);
    let post = async |tokens: &TokenResponse, path: &str, body: Value| {
        call(&world, tokens, Method::POST, path, Some(body)).await
    };
    let answer = post(&ann, "/v1/spaces", json!({ "schema": 1, "name": "Household" })).await;
    let request = answered(&answer, 201);
    let space = frame::<SpaceOfCaller>(answer).await.space;
    trail.left(&request, "space.created", "ann", Some(ann.device)).space = Some(space);

    for guest in [&bob, &carl] {
        let path = format!("/v1/spaces/{space}/invites");
        let answer = post(&ann, &path, json!({ "schema": 1, "role": "writer" })).await;
        let request = answered(&answer, 201);
        let invite: InviteResponse = frame(answer).await;
        trail.left(&request, "invite.created", "ann", Some(ann.device)).space = Some(space);
        let answer = post(guest, "/v1/invites/accept", json!({ "schema": 1, "token": invite.token.0 })).await;
        let event = trail.left(&answered(&answer, 200), "member.joined", &guest.user, Some(guest.device));
        event.space = Some(space);
    }
    let answer = post(&ann, &format!("/v1/spaces/{space}/invites"), json!({ "schema": 1, "role": "reader" })).await;
    let invite = frame::<InviteResponse>(answer).await.invite;
    let path = format!("/v1/spaces/{space}/invites/{invite}");
    let answer = call(&world, &ann, Method::DELETE, &path, None).await;
    trail.left(&answered(&answer, 204), "invite.revoked", "ann", Some(ann.device)).space = Some(space);

    let member = |user: &str| format!("/v1/spaces/{space}/members/{user}");
    let body = json!({ "schema": 1, "role": "reader" });
    let answer = call(&world, &ann, Method::PUT, &member("bob"), Some(body)).await;
    let event = trail.left(&answered(&answer, 204), "member.role_changed", "bob", None);
    (event.space, event.detail) = (Some(space), Some(format!("writer to reader, by ann on {}", ann.device)));
    let answer = call(&world, &ann, Method::DELETE, &member("bob"), None).await;
    let event = trail.left(&answered(&answer, 204), "member.removed", "bob", None);
    (event.space, event.detail) = (Some(space), Some(format!("by ann on {}", ann.device)));
    let answer = call(&world, &carl, Method::DELETE, &member("carl"), None).await;
    trail.left(&answered(&answer, 204), "member.left", "carl", Some(carl.device)).space = Some(space);
    trail.is_shown(&world).await;
}

/// An event of that time, which nobody has seen.
fn kept(number: u32, at_ms: u64, space: Option<SpaceId>) -> AuditRow {
    let id = AuditId(u128::from(number).to_be_bytes());
    let (user, kind) = ("ann".to_owned(), "session.log_out".to_owned());
    AuditRow { user, at_ms, id, kind, device: None, space, address: None, request_id: None, detail: None }
}

#[tokio::test]
async fn the_command_shows_the_last_day_and_reads_on_where_a_page_ends() {
    const HOUR_MS: u64 = 3_600_000;
    let world = World::new().await;
    let registry = world.server.registry();
    let now_ms = Clock::default().now_ms();
    let space = SpaceId::from_bytes([5; 16]);
    registry
        .append_audit(vec![kept(0, now_ms - 25 * HOUR_MS, None), kept(1, now_ms - HOUR_MS, Some(space))])
        .await
        .unwrap();
    // Many of one moment, which more than one page has.
    let many: Vec<AuditRow> = (2..1_500).map(|number| kept(number, now_ms - 2 * HOUR_MS, None)).collect();
    for some in many.chunks(APPEND_ROWS_MAX) {
        registry.append_audit(some.to_vec()).await.unwrap();
    }
    let page = registry.read_audit(AuditFilter { limit: 5_000, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(page.len(), PAGE_ROWS_MAX as usize);

    let ids = async |arguments: &[&str]| {
        let lines = shown(&world, arguments).await;
        let ids: Vec<String> = lines.iter().map(|line| line["audit_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each once");
        ids
    };
    assert_eq!(ids(&["--limit", "5000"]).await.len(), 1_499, "not that of yesterday");
    assert_eq!(ids(&["--limit", "5000", "--since", "26h"]).await.len(), 1_500);
    assert_eq!(ids(&["--limit", "1100"]).await.len(), 1_100);
    assert_eq!(ids(&[]).await.len(), 200);
    assert_eq!(ids(&["--space", &space.to_string()]).await, [format!("{:032x}", 1)]);
    assert_eq!(ids(&["--flags"]).await, [""; 0], "none of them is a flag");
}
