//! Every route, asked by everybody, with ids of one's own, of others and of nobody. A route without a row in the
//! [table](table) fails, and so does an answer that tells what is there from what is not.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::Value;
use sync_core::feed::FeedHead;
use sync_core::id::SpaceId;
use sync_core::ledger;
use sync_core::wire::account::{InviteResponse, NewDevice};
use sync_core::wire::{ErrorResponse, LiveResponse};
use sync_server::{Config, routes};
use table::{Ask, Row};

use crate::world::{JSON, Phone, World, frame};

mod table;

/// What whoever asks is in the space that "own" ids are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Stranger,
    OwnerElsewhere,
    Removed,
    /// Holds an invitation that was taken back.
    Uninvited,
    Reader,
    Writer,
    Owner,
}

const ROLES: [Role; 7] =
    [Role::Stranger, Role::OwnerElsewhere, Role::Removed, Role::Uninvited, Role::Reader, Role::Writer, Role::Owner];

impl Role {
    /// Who is in it.
    fn user(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn in_space(self) -> Option<ledger::Role> {
        match self {
            Self::Reader => Some(ledger::Role::Reader),
            Self::Writer => Some(ledger::Role::Writer),
            Self::Owner => Some(ledger::Role::Owner),
            Self::Stranger | Self::OwnerElsewhere | Self::Removed | Self::Uninvited => None,
        }
    }
}

/// Whose ids a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of the space that the role is in.
    Own,
    /// That space, but what is in it by the ids of another one.
    Mixed,
    /// Of a space that others have.
    Others,
    /// Of nothing that there is.
    Nobodys,
}

const WHOSE: [Whose; 4] = [Whose::Own, Whose::Mixed, Whose::Others, Whose::Nobodys];

/// Ids that a request may name.
#[derive(Clone)]
pub struct Ids {
    pub space: SpaceId,
    /// Another member of it.
    pub member: String,
    /// An open invitation into it.
    pub invite: String,
    /// The token of one; of others, one that somebody has used.
    pub token: String,
    /// A device of whoever asks; of others, one of theirs. Made for routes that take one.
    pub device: String,
}

/// Who asks, and what for.
pub struct Asker {
    pub phone: Phone,
    pub user: String,
    pub ids: Ids,
}

/// What was answered: a status, and where that does not tell everything, what the body says.
pub struct Answer {
    pub outcome: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// Of HTTP. `tell` looks into the body of a good answer.
    pub async fn of(response: Response, tell: impl FnOnce(&Value) -> Option<String>) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        // A stream of events does not end.
        let is_stream = headers.get("content-type").is_some_and(|of| of == "text/event-stream");
        let body = if is_stream { Vec::new() } else { response.bytes().await.unwrap().to_vec() };
        let value = serde_json::from_slice(&body).unwrap_or_default();
        let told = tell(&value).filter(|_| status.is_success()).map(|told| format!(" {told}")).unwrap_or_default();
        Self { outcome: format!("{}{told}", status.as_u16()), headers, body }
    }

    /// Of a live connection, in the words of HTTP.
    pub fn live(response: LiveResponse, tell: impl FnOnce(&Value) -> Option<String>) -> Self {
        let (outcome, body) = match response {
            LiveResponse::Answer { push, .. } => {
                let value = serde_json::json!({ "push": push });
                let told = tell(&value).map(|told| format!(" {told}")).unwrap_or_default();
                (format!("200{told}"), Vec::new())
            }
            LiveResponse::Refused { error, .. } => {
                let code = serde_json::to_value(error.code).unwrap();
                assert_eq!(code, "not_found", "{error:?}");
                ("404".to_owned(), serde_json::to_vec(&error).unwrap())
            }
            other => panic!("{other:?}"),
        };
        Self { outcome, headers: HeaderMap::new(), body }
    }

    /// All of it but for what differs from one request to the next: its id, which counts up, and when it was answered.
    fn comparable(&self) -> (String, Vec<(String, String)>, String) {
        let error: ErrorResponse = serde_json::from_slice(&self.body).expect("a refusal");
        let body = String::from_utf8(self.body.clone()).unwrap().replace(&error.request_id, "ID");
        let mut headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        for (name, value) in &mut headers {
            match name.as_str() {
                "date" => value.clear(),
                "x-request-id" => assert_eq!(std::mem::take(value), error.request_id),
                "content-length" => assert_eq!(std::mem::take(value), self.body.len().to_string()),
                _ => {}
            }
        }
        (self.outcome.clone(), headers, body)
    }
}

struct Stage {
    world: World,
    /// The devices of everybody, made once: a client takes longer to build than anything here takes to answer.
    devices: BTreeMap<String, Phone>,
    /// A space of others, with an invitation that somebody has used. Nothing here may change it.
    others: Ids,
}

impl Stage {
    async fn new() -> Self {
        let mut config = Config::default();
        // What is told of them counts up, and differs from one answer to the next.
        config.limits.rules = Vec::new();
        let world = World::with(config).await;
        let users = ROLES.map(Role::user);
        let users = users.iter().map(String::as_str).chain(["cleo", "zoe", "yan"]);
        let devices = users.map(|user| (user.to_owned(), world.phone(user))).collect();
        let others = Ids {
            space: random_space(),
            member: String::new(),
            invite: String::new(),
            token: String::new(),
            device: String::new(),
        };
        let mut stage = Self { world, devices, others };
        stage.set(random_space(), &Role::OwnerElsewhere.user(), Some(ledger::Role::Owner)).await;
        let mut others = stage.space("zoe", "xaver").await;
        others.token = stage.invite(others.space, "zoe").await.token.0;
        let body = format!(r#"{{"schema":1,"token":"{}"}}"#, others.token);
        assert_eq!(stage.send("yan", Method::POST, "/v1/invites/accept", &body).await.status(), 200);
        others.device = stage.device("zoe").await;
        stage.others = others;
        stage
    }

    async fn set(&self, space: SpaceId, user: &str, role: Option<ledger::Role>) {
        self.world.server.set_role(space, user, role).await.unwrap();
    }

    async fn send(&self, user: &str, method: Method, path: &str, body: &str) -> Response {
        let request = self.devices[user].request(method, path).header("content-type", JSON);
        request.body(body.to_owned()).send().await.unwrap()
    }

    async fn invite(&self, space: SpaceId, by: &str) -> InviteResponse {
        let path = format!("/v1/spaces/{space}/invites");
        frame(self.send(by, Method::POST, &path, r#"{"schema":1,"role":"writer"}"#).await).await
    }

    /// A device that is registered.
    async fn device(&self, user: &str) -> String {
        let (name, platform, app_version) = ("Phone".to_owned(), "ios".to_owned(), "1.0".to_owned());
        let device = NewDevice { device: None, name, platform, app_version, public_key: None };
        self.world.server.begin_session(user, None, device).await.unwrap().device.to_string()
    }

    /// A space with an owner, a member, and an open invitation.
    async fn space(&self, owner: &str, member: &str) -> Ids {
        let space = random_space();
        self.set(space, owner, Some(ledger::Role::Owner)).await;
        self.set(space, member, Some(ledger::Role::Writer)).await;
        let made = self.invite(space, owner).await;
        Ids {
            space,
            member: member.to_owned(),
            invite: made.invite.to_string(),
            token: made.token.0,
            device: String::new(),
        }
    }

    /// Somebody in that role, in a space of that role alone, with those ids.
    async fn asker(&self, role: Role, whose: Whose) -> Asker {
        let user = role.user();
        let mut own = self.space("cleo", "dan").await;
        match role {
            Role::Removed => {
                self.set(own.space, &user, Some(ledger::Role::Owner)).await;
                self.set(own.space, &user, None).await;
            }
            Role::Uninvited => {
                let path = format!("/v1/spaces/{}/invites/{}", own.space, own.invite);
                assert_eq!(self.send("cleo", Method::DELETE, &path, "").await.status(), 204);
            }
            Role::Stranger | Role::OwnerElsewhere => {}
            Role::Reader | Role::Writer | Role::Owner => self.set(own.space, &user, role.in_space()).await,
        }
        let ids = match whose {
            Whose::Own => own,
            Whose::Mixed => {
                (own.member, own.invite) = (self.others.member.clone(), self.others.invite.clone());
                own.device.clone_from(&self.others.device);
                own
            }
            Whose::Others => self.others.clone(),
            Whose::Nobodys => Ids {
                space: random_space(),
                member: "nobody".to_owned(),
                invite: random_space().to_string(),
                token: format!("rji_{}", "A".repeat(86)),
                device: random_space().to_string(),
            },
        };
        let Phone { client, address, prefix, token, device, .. } = &self.devices[&user];
        let (space, head) = (ids.space, FeedHead::start(ids.space, *device));
        let (client, token) = (client.clone(), token.clone());
        let phone = Phone { client, address: *address, prefix, token, device: *device, space, head };
        Asker { phone, user, ids }
    }

    async fn ask(&self, row: &Row, role: Role, whose: Whose) -> Answer {
        let mut asker = self.asker(role, whose).await;
        if whose == Whose::Own && row.route.contains("{device}") {
            asker.ids.device = self.device(&asker.user).await;
        }
        match row.ask {
            Ask::Http(request) => {
                let response = request(&asker).header("accept", JSON).send().await.unwrap();
                Answer::of(response, |_| None).await
            }
            Ask::Push => table::push(&mut asker).await,
            Ask::Live => table::live(&mut asker).await,
        }
    }
}

fn random_space() -> SpaceId {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap();
    SpaceId::from_random(random)
}

#[test]
fn every_route_has_its_rows() {
    let asked: BTreeSet<&str> = table::ROWS.iter().map(|row| row.route).collect();
    let routes: BTreeSet<String> = routes().map(|(method, route)| format!("{method} {route}")).collect();
    assert_eq!(asked, routes.iter().map(String::as_str).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_everybody_as_the_table_says() {
    let stage = Stage::new().await;
    for row in table::ROWS {
        for role in ROLES {
            let mut not_found: Option<Answer> = None;
            for whose in WHOSE {
                let answer = stage.ask(row, role, whose).await;
                let expected = row.expect.of(role, whose);
                assert_eq!(answer.outcome, expected, "{} ({}) by {role:?} with {whose:?}", row.route, row.what);
                if answer.outcome != "404" {
                    continue;
                }
                // There or not, what one may not see answers the same, to the byte.
                match &not_found {
                    Some(before) => assert_eq!(answer.comparable(), before.comparable(), "{} {role:?}", row.route),
                    None => not_found = Some(answer),
                }
            }
        }
    }
}
