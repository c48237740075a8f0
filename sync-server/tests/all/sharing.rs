//! Spaces and their members over HTTP: made, shared by a link, left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, Response};
use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::feed::FeedHead;
use sync_core::id::SpaceId;
use sync_core::ledger;
use sync_core::wire::account::{
    AcceptInviteRequest, CreateSpaceRequest, InviteRequest, InviteResponse, InvitesResponse, Member, MembersResponse,
    OpenInvite, Private, Role, SetRoleRequest, SpaceOfCaller, SpacesResponse,
};
use sync_core::wire::{ErrorCode, LiveResponse, SCHEMA};
use sync_server::store::devices::NAMES_MAX;
use sync_server::store::sqlite::FILE;
use sync_server::{Clock, Config};
use tokio::time::timeout;

use crate::devices::phone as device;
use crate::world::{JSON, Phone, World, frame, refused, typing};

impl Phone {
    async fn put_frame<T: Serialize>(&self, method: Method, path: &str, body: &T) -> Response {
        let body = serde_json::to_vec(body).unwrap();
        self.request(method, path).header("content-type", JSON).body(body).send().await.unwrap()
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        frame(self.request(Method::GET, path).send().await.unwrap()).await
    }

    async fn make(&self, name: &str) -> SpaceOfCaller {
        let request = CreateSpaceRequest { schema: SCHEMA, name: name.to_owned() };
        let response = self.put_frame(Method::POST, "/v1/spaces", &request).await;
        assert_eq!(response.status(), 201);
        frame(response).await
    }

    async fn invites(&self, space: SpaceId, role: Role, expires_in: Option<u64>) -> Response {
        let request = InviteRequest { schema: SCHEMA, role, expires_in };
        self.put_frame(Method::POST, &format!("/v1/spaces/{space}/invites"), &request).await
    }

    async fn invite(&self, space: SpaceId, role: Role) -> InviteResponse {
        let response = self.invites(space, role, None).await;
        assert_eq!(response.status(), 201);
        frame(response).await
    }

    async fn accept(&self, token: &Private) -> Response {
        let request = AcceptInviteRequest { schema: SCHEMA, token: token.clone() };
        self.put_frame(Method::POST, "/v1/invites/accept", &request).await
    }

    async fn join(&self, owner: &Self, space: SpaceId, role: Role) -> SpaceOfCaller {
        frame(self.accept(&owner.invite(space, role).await.token).await).await
    }

    async fn set_role(&self, space: SpaceId, user: &str, role: Role) -> Response {
        let request = SetRoleRequest { schema: SCHEMA, role };
        self.put_frame(Method::PUT, &format!("/v1/spaces/{space}/members/{user}"), &request).await
    }

    async fn remove(&self, space: SpaceId, user: &str) -> Response {
        self.request(Method::DELETE, &format!("/v1/spaces/{space}/members/{user}")).send().await.unwrap()
    }

    async fn members(&self, space: SpaceId) -> Vec<Member> {
        self.read::<MembersResponse>(&format!("/v1/spaces/{space}/members")).await.members
    }
}

fn member(user: &str, role: Role) -> Member {
    Member { user: user.to_owned(), display_name: None, role }
}

#[tokio::test]
async fn a_space_is_made_shared_and_left() {
    let world = World::new().await;
    let (mut ann, mut bob) = (world.phone("ann"), world.phone("bob"));
    let made = ann.make("Household 🏡").await;
    let space = made.space;
    assert_eq!(made, SpaceOfCaller { space, role: Role::Owner, name: Some("Household 🏡".to_owned()) });
    assert_ne!(ann.make("Household 🏡").await.space, space, "names are anybody's");

    let joined = bob.join(&ann, space, Role::Writer).await;
    assert_eq!(joined, SpaceOfCaller { role: Role::Writer, ..made.clone() });
    for phone in [&ann, &bob] {
        assert_eq!(phone.members(space).await, [member("ann", Role::Owner), member("bob", Role::Writer)]);
    }
    assert_eq!(bob.read::<SpacesResponse>("/v1/spaces").await.spaces, [joined]);
    (ann.space, bob.space, bob.head) = (space, space, FeedHead::start(space, bob.device));
    let items = typing(bob.device, 1);
    let push = bob.push(items);
    bob.sync(&push).await;
    assert!(ann.sync(&ann.pull()).await.pull.is_some());

    assert_eq!(ann.set_role(space, "bob", Role::Reader).await.status(), 204);
    assert_eq!(ann.set_role(space, "bob", Role::Reader).await.status(), 204, "twice is once");
    assert_eq!(bob.members(space).await[1], member("bob", Role::Reader));
    refused(ann.set_role(space, "carl", Role::Reader).await, 404, ErrorCode::NotFound).await;
    assert_eq!(bob.remove(space, "bob").await.status(), 204);
    refused(bob.remove(space, "bob").await, 404, ErrorCode::NotFound).await;
    refused(bob.send(&bob.pull()).await, 404, ErrorCode::NotFound).await;
    assert_eq!(ann.members(space).await, [member("ann", Role::Owner)]);
    refused(ann.remove(space, "bob").await, 404, ErrorCode::NotFound).await;
}

/// Who signs in by a password or an ID token says what others call them; who comes with a provider's access token does not.
#[tokio::test]
async fn members_are_told_by_the_names_that_are_known() {
    let world = World::new().await;
    let (ann, bob) = (world.phone("ann"), world.phone("bob"));
    let space = ann.make("Household").await.space;
    bob.join(&ann, space, Role::Writer).await;
    let named = |name: &str| Some(name.to_owned());
    let names = async || ann.members(space).await.into_iter().map(|member| member.display_name).collect::<Vec<_>>();
    assert_eq!(names().await, [None, None]);
    world.server.begin_session("bob", Some("Bob \u{1f3b8}"), device("Phone")).await.unwrap();
    assert_eq!(names().await, [None, named("Bob \u{1f3b8}")]);
    assert_eq!(bob.members(space).await, ann.members(space).await);
    world.server.begin_session("ann", Some("Ann"), device("Phone")).await.unwrap();
    world.server.begin_session("bob", Some("Robert"), device("Tablet")).await.unwrap();
    world.server.begin_session("eve", Some("Eve"), device("Phone")).await.unwrap();
    assert_eq!(names().await, [named("Ann"), named("Robert")], "the latest, and of members alone");

    // More than are looked up at once.
    let mut database = Connection::open(world.folder.path().join(FILE)).unwrap();
    let transaction = database.transaction().unwrap();
    for n in 0..NAMES_MAX {
        let insert = "INSERT INTO members (space_id, user_id, role) VALUES (?1, ?2, 1)";
        transaction.execute(insert, params![space.as_bytes(), format!("a{n:04}")]).unwrap();
    }
    transaction.commit().unwrap();
    let members = ann.members(space).await;
    assert_eq!(members.len(), NAMES_MAX + 2);
    let known: Vec<_> = members.iter().filter_map(|member| member.display_name.as_deref()).collect();
    assert_eq!(known, ["Ann", "Robert"]);
}

#[tokio::test]
async fn a_space_keeps_an_owner() {
    let world = World::new().await;
    let (ann, bob) = (world.phone("ann"), world.phone("bob"));
    let space = ann.make("Household").await.space;
    bob.join(&ann, space, Role::Writer).await;
    refused(ann.set_role(space, "ann", Role::Writer).await, 409, ErrorCode::LastOwner).await;
    refused(ann.remove(space, "ann").await, 409, ErrorCode::LastOwner).await;
    assert_eq!(ann.set_role(space, "ann", Role::Owner).await.status(), 204);
    assert_eq!(ann.set_role(space, "bob", Role::Owner).await.status(), 204);
    // Each does away with the other at once, again and again.
    for _ in 0..20 {
        let (one, other) =
            tokio::join!(ann.set_role(space, "bob", Role::Reader), bob.set_role(space, "ann", Role::Reader));
        let mut statuses = [one.status().as_u16(), other.status().as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 403]);
        let members = bob.members(space).await;
        let owner = members.iter().find(|member| member.role == Role::Owner).expect("an owner");
        let (owner, other) = if owner.user == "ann" { (&ann, "bob") } else { (&bob, "ann") };
        assert_eq!(owner.set_role(space, other, Role::Owner).await.status(), 204);
    }
}

#[tokio::test]
async fn a_personal_space_stays_its_users() {
    let world = World::new().await;
    let (ann, eve) = (world.phone("ann"), world.phone("eve"));
    let space = ann.space;
    assert_eq!(ann.members(space).await, [member("ann", Role::Owner)], "it is there when it is asked for");
    let refusals = [
        ann.invites(space, Role::Reader, None).await,
        ann.remove(space, "ann").await,
        ann.set_role(space, "ann", Role::Reader).await,
        ann.set_role(space, "eve", Role::Owner).await,
    ];
    for response in refusals {
        let told = refused(response, 403, ErrorCode::Forbidden).await;
        assert!(told.message.contains("personal"), "{}", told.message);
    }
    for response in [eve.remove(space, "ann").await, eve.set_role(space, "ann", Role::Reader).await] {
        refused(response, 404, ErrorCode::NotFound).await;
    }
    // Not even by whom the operator has let in.
    world.server.set_role(space, "eve", Some(ledger::Role::Owner)).await.unwrap();
    refused(eve.remove(space, "ann").await, 403, ErrorCode::Forbidden).await;
    refused(eve.set_role(space, "ann", Role::Reader).await, 403, ErrorCode::Forbidden).await;
    assert_eq!(eve.remove(space, "eve").await.status(), 204);
}

#[tokio::test]
async fn an_invitation_holds_for_a_while_and_for_one() {
    let now_ms = Arc::new(AtomicU64::new(1_800_000_000_000));
    let clock = Clock::new({
        let now_ms = Arc::clone(&now_ms);
        move || now_ms.load(Ordering::Relaxed)
    });
    let mut config = Config::default();
    config.spaces.invite_link = Some("https://app.example.com/join#t={token}".to_owned());
    let world = World::on(|server| server.config(config).clock(clock)).await;
    let (ann, bob, eve) = (world.phone("ann"), world.phone("bob"), world.phone("eve"));
    let space = ann.make("Household").await.space;
    let start_ms = now_ms.load(Ordering::Relaxed);

    let made = ann.invite(space, Role::Reader).await;
    assert_eq!(made.expires_ms, start_ms + 7 * 24 * 3_600_000);
    assert!(made.token.0.starts_with("rji_"));
    assert_eq!(made.link, Some(Private(format!("https://app.example.com/join#t={}", made.token.0))));
    let brief: InviteResponse = frame(ann.invites(space, Role::Owner, Some(60)).await).await;
    let list = async || ann.read::<InvitesResponse>(&format!("/v1/spaces/{space}/invites")).await.invites;
    let told = |made: &InviteResponse, role| OpenInvite {
        invite: made.invite,
        role,
        by: "ann".to_owned(),
        expires_ms: made.expires_ms,
    };
    let mut expected = vec![told(&made, Role::Reader), told(&brief, Role::Owner)];
    expected.sort_by_key(|open| open.invite);
    let mut open = list().await;
    open.sort_by_key(|open| open.invite);
    assert_eq!(open, expected);

    now_ms.store(start_ms + 59_999, Ordering::Relaxed);
    assert_eq!(list().await.len(), 2);
    now_ms.store(start_ms + 60_000, Ordering::Relaxed);
    assert_eq!(list().await, [told(&made, Role::Reader)]);
    refused(bob.accept(&brief.token).await, 404, ErrorCode::NotFound).await;

    assert_eq!(bob.accept(&made.token).await.status(), 200);
    refused(eve.accept(&made.token).await, 404, ErrorCode::NotFound).await;
    let again: SpaceOfCaller = frame(bob.accept(&made.token).await).await;
    assert_eq!(again, SpaceOfCaller { space, role: Role::Reader, name: Some("Household".to_owned()) });

    let path = |invite| format!("/v1/spaces/{space}/invites/{invite}");
    let back = ann.invite(space, Role::Reader).await;
    let revoke = async |phone: &Phone, invite| phone.request(Method::DELETE, &path(invite)).send().await.unwrap();
    refused(revoke(&bob, back.invite).await, 403, ErrorCode::Forbidden).await;
    assert_eq!(revoke(&ann, back.invite).await.status(), 204);
    refused(revoke(&ann, back.invite).await, 404, ErrorCode::NotFound).await;
    refused(eve.accept(&back.token).await, 404, ErrorCode::NotFound).await;
}

#[tokio::test]
async fn values_out_of_range_are_named() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let space = ann.make("x").await.space;
    assert_eq!(ann.make(&"ß".repeat(100)).await.name, Some("ß".repeat(100)));
    for name in [String::new(), " ".to_owned(), "x".repeat(101), "a\0".to_owned(), "a\nb".to_owned()] {
        let request = CreateSpaceRequest { schema: SCHEMA, name };
        let told = ann.put_frame(Method::POST, "/v1/spaces", &request).await;
        assert!(refused(told, 400, ErrorCode::Invalid).await.message.contains("`name`"));
    }
    for seconds in [0, 59, 2_592_001, u64::MAX] {
        let told = ann.invites(space, Role::Reader, Some(seconds)).await;
        assert!(refused(told, 400, ErrorCode::Invalid).await.message.contains("`expires_in`"));
    }
    for seconds in [60, 2_592_000] {
        assert_eq!(ann.invites(space, Role::Reader, Some(seconds)).await.status(), 201);
    }
    // A role never comes from a client where nobody may give it, and unknown fields are no way in.
    for (method, path, body) in [
        (Method::POST, "/v1/spaces".to_owned(), r#"{"schema":1,"name":"x","role":"owner"}"#),
        (
            Method::POST,
            "/v1/spaces".to_owned(),
            r#"{"schema":1,"name":"x","space":"00000000-0000-4000-8000-000000000000"}"#,
        ),
        (Method::POST, "/v1/invites/accept".to_owned(), r#"{"schema":1,"token":"x","role":"owner"}"#),
        (Method::POST, format!("/v1/spaces/{space}/invites"), r#"{"schema":1,"role":"god"}"#),
        (Method::PUT, format!("/v1/spaces/{space}/members/ann"), r#"{"schema":1,"role":"owner","user":"eve"}"#),
    ] {
        let sent = ann.request(method, &path).header("content-type", JSON).body(body).send().await.unwrap();
        refused(sent, 400, ErrorCode::BadFrame).await;
    }
    let request = CreateSpaceRequest { schema: SCHEMA + 1, name: "x".to_owned() };
    let told = ann.put_frame(Method::POST, "/v1/spaces", &request).await;
    refused(told, 400, ErrorCode::UnsupportedSchema).await;
    for path in ["/v1/spaces/%ff/members", "/v1/spaces/x/members", &format!("/v1/spaces/{space}/invites/x")] {
        let method = if path.contains("invites") { Method::DELETE } else { Method::GET };
        refused(ann.request(method, path).send().await.unwrap(), 404, ErrorCode::NotFound).await;
    }
    refused(ann.remove(space, "%ff").await, 404, ErrorCode::NotFound).await;
}

#[tokio::test]
async fn there_are_only_so_many() {
    let mut config = Config::default();
    config.limits.rules.retain(|rule| rule.name == "invites");
    let world = World::with(config).await;
    let (ann, eve) = (world.phone("ann"), world.phone("eve"));
    let space = ann.make("Household").await.space;
    for _ in 0..100 {
        ann.invite(space, Role::Reader).await;
    }
    refused(ann.invites(space, Role::Reader, None).await, 409, ErrorCode::TooMany).await;
    // Who tries tokens does not do so for long.
    for _ in 0..60 {
        refused(eve.accept(&"rji_x".into()).await, 404, ErrorCode::NotFound).await;
    }
    refused(eve.accept(&"rji_x".into()).await, 429, ErrorCode::RateLimited).await;
}

/// What an idempotency key keeps is not for what is kept nowhere else.
#[tokio::test]
async fn a_token_is_told_once() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let space = ann.make("Household").await.space;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let request = ann.request(Method::POST, &format!("/v1/spaces/{space}/invites")).header("content-type", JSON);
        let request = request.header("idempotency-key", "the-same").body(r#"{"schema":1,"role":"reader"}"#);
        let response = request.send().await.unwrap();
        assert!(!response.headers().contains_key("idempotency-replayed"));
        tokens.push(frame::<InviteResponse>(response).await.token.0);
    }
    assert_ne!(tokens[0], tokens[1]);
    // Looked for in all that the store has written.
    world.server.store().ping().await.unwrap();
    let text = tokens[0].strip_prefix("rji_").unwrap();
    let secret = &URL_SAFE_NO_PAD.decode(text).unwrap()[32..];
    for file in std::fs::read_dir(world.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for part in [secret, &text.as_bytes()[44..]] {
            assert!(!bytes.windows(part.len()).any(|window| window == part));
        }
    }
}

#[tokio::test]
async fn who_leaves_or_is_removed_is_cut_off_at_once() {
    let mut config = Config::default();
    // Nobody looks by itself in time.
    config.live.heartbeat_ms = 60_000;
    let world = World::with(config).await;
    let (ann, bob, carl) = (world.phone("ann"), world.phone("bob"), world.phone("carl"));
    let space = ann.make("Household").await.space;
    for phone in [&bob, &carl] {
        phone.join(&ann, space, Role::Writer).await;
    }
    let (mut stays, mut removed, mut leaves) = (ann.link().await, bob.link().await, carl.link().await);
    for link in [&mut stays, &mut removed, &mut leaves] {
        link.follow(space, None).await;
    }
    for (who, user, link) in [(&ann, "bob", &mut removed), (&carl, "carl", &mut leaves)] {
        assert_eq!(who.remove(space, user).await.status(), 204);
        match timeout(Duration::from_secs(1), link.hear()).await.expect("within a second") {
            LiveResponse::Refused { id: None, space: Some(of), error } => {
                assert_eq!((of, error.code), (space, ErrorCode::NotFound));
            }
            other => panic!("{other:?}"),
        }
    }
    stays.say(&sync_core::wire::LiveRequest::Ping { nonce: 1 }).await;
    assert_eq!(stays.hear().await, LiveResponse::Pong { nonce: 1 }, "and nobody else is");
}
