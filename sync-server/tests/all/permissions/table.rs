//! The table: what each route answers, by who asks and whose ids are named. A new route needs a row here.

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use sync_core::wire::{LiveRequest, Pull};

use super::{Answer, Asker, Role, Whose};
use crate::world::{JSON, typing};

pub struct Row {
    /// Method and route, as in the route table.
    pub route: &'static str,
    /// What is asked, where a route takes several things.
    pub what: &'static str,
    pub ask: Ask,
    pub expect: Expect,
}

/// How it is asked.
#[derive(Clone, Copy)]
pub enum Ask {
    Http(fn(&Asker) -> RequestBuilder),
    Push,
    Live,
}

/// Statuses (and verdicts) by role.
pub enum Expect {
    /// Names nobody's ids: the same for everybody.
    Anybody(&'static str),
    /// For members, as reader, writer and owner; to everybody else the space does not exist.
    Members([&'static str; 3]),
    /// The same, and what members get who name somebody or something of another space within their own.
    Within([&'static str; 3], [&'static str; 3]),
    By(fn(Role, Whose) -> &'static str),
}

impl Expect {
    pub fn of(&self, role: Role, whose: Whose) -> &'static str {
        let by_role = |[reader, writer, owner]: [&'static str; 3]| match role {
            Role::Stranger | Role::OwnerElsewhere | Role::Removed | Role::Uninvited => "404",
            Role::Reader => reader,
            Role::Writer => writer,
            Role::Owner => owner,
        };
        match (self, whose) {
            (Self::Anybody(status), _) => status,
            (Self::By(of), _) => of(role, whose),
            (_, Whose::Others | Whose::Nobodys) => "404",
            (Self::Members(statuses), _) | (Self::Within(statuses, _), Whose::Own) => by_role(*statuses),
            (Self::Within(_, mixed), Whose::Mixed) => by_role(*mixed),
        }
    }
}

const PULL: &str = r#"{"schema":1,"space":"SPACE","pull":{"own":true,"version":true}}"#;

const PLACES: &str = r#"{"schema":1,"space":"SPACE","places":[1]}"#;
const LOST: &str = concat!(
    r#"{"schema":1,"space":"SPACE","lost":{"base":{"seq":0,"chain":"0000000000000000000000000000000000000000000000000000000000000000"},"#,
    r#""entries":[],"receipt":"0000000000000000000000000000000000000000000000000000000000000000"}}"#
);

fn get(asker: &Asker, path: &str) -> RequestBuilder {
    asker.phone.request(Method::GET, path)
}

fn with(asker: &Asker, method: Method, path: &str, body: &str) -> RequestBuilder {
    let body = body.replace("SPACE", &asker.ids.space.to_string());
    asker.phone.request(method, path).header("content-type", JSON).body(body)
}

fn form(asker: &Asker, path: &str) -> RequestBuilder {
    asker.phone.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded").body("")
}

fn of_space(asker: &Asker, rest: &str) -> String {
    format!("/v1/spaces/{}/{rest}", asker.ids.space)
}

pub const ROWS: &[Row] = &[
    Row {
        route: "POST /v1/sync",
        what: "a pull",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/sync", PULL)),
        expect: Expect::Members(["200"; 3]),
    },
    Row {
        route: "POST /v1/sync",
        what: "a push",
        ask: Ask::Push,
        expect: Expect::Members(["200 not_a_writer", "200 applied", "200 applied"]),
    },
    Row {
        route: "POST /v1/heal",
        what: "places of the log",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/heal", PLACES)),
        expect: Expect::Members(["200"; 3]),
    },
    Row {
        route: "POST /v1/heal",
        what: "entries without proof",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/heal", LOST)),
        expect: Expect::Members(["403"; 3]),
    },
    Row {
        route: "GET /v1/live",
        what: "a push and a subscription",
        ask: Ask::Live,
        expect: Expect::Members(["200 not_a_writer", "200 applied", "200 applied"]),
    },
    Row {
        route: "GET /v1/live",
        what: "no upgrade",
        ask: Ask::Http(|asker| get(asker, "/v1/live")),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "GET /v1/events",
        what: "a space",
        ask: Ask::Http(|asker| get(asker, &format!("/v1/events?space={}", asker.ids.space))),
        expect: Expect::Members(["200"; 3]),
    },
    Row {
        route: "GET /v1/events",
        what: "one's own space, and that one",
        ask: Ask::Http(|asker| {
            let own = sync_core::id::SpaceId::personal(&asker.user);
            get(asker, &format!("/v1/events?space={own}&space={}", asker.ids.space))
        }),
        expect: Expect::Members(["200"; 3]),
    },
    Row {
        route: "GET /v1/spaces",
        what: "",
        ask: Ask::Http(|asker| get(asker, "/v1/spaces")),
        expect: Expect::Anybody("200"),
    },
    Row {
        route: "POST /v1/spaces",
        what: "",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/spaces", r#"{"schema":1,"name":"Household"}"#)),
        expect: Expect::Anybody("201"),
    },
    Row {
        route: "GET /v1/spaces/{id}/version",
        what: "",
        ask: Ask::Http(|asker| get(asker, &of_space(asker, "version"))),
        expect: Expect::Members(["200"; 3]),
    },
    Row {
        route: "DELETE /v1/spaces/{id}",
        what: "",
        ask: Ask::Http(|asker| asker.phone.request(Method::DELETE, &format!("/v1/spaces/{}", asker.ids.space))),
        expect: Expect::Members(["403", "403", "204"]),
    },
    Row {
        route: "GET /v1/spaces/{id}/deletions/{doc}",
        what: "a document that there is not",
        ask: Ask::Http(|asker| get(asker, &of_space(asker, "deletions/01890a5d-ac96-774b-bcce-b302099a8057"))),
        expect: Expect::Members(["403", "403", "404"]),
    },
    Row {
        route: "GET /v1/spaces/{id}/members",
        what: "",
        ask: Ask::Http(|asker| get(asker, &of_space(asker, "members"))),
        expect: Expect::Members(["200"; 3]),
    },
    Row {
        route: "PUT /v1/spaces/{id}/members/{user}",
        what: "another member",
        ask: Ask::Http(|asker| {
            let path = of_space(asker, &format!("members/{}", asker.ids.member));
            with(asker, Method::PUT, &path, r#"{"schema":1,"role":"owner"}"#)
        }),
        expect: Expect::Within(["403", "403", "204"], ["403", "403", "404"]),
    },
    Row {
        route: "PUT /v1/spaces/{id}/members/{user}",
        what: "oneself",
        ask: Ask::Http(|asker| {
            let path = of_space(asker, &format!("members/{}", asker.user));
            with(asker, Method::PUT, &path, r#"{"schema":1,"role":"owner"}"#)
        }),
        expect: Expect::Members(["403", "403", "204"]),
    },
    Row {
        route: "DELETE /v1/spaces/{id}/members/{user}",
        what: "another member",
        ask: Ask::Http(|asker| {
            let path = of_space(asker, &format!("members/{}", asker.ids.member));
            asker.phone.request(Method::DELETE, &path)
        }),
        expect: Expect::Within(["403", "403", "204"], ["403", "403", "404"]),
    },
    Row {
        route: "DELETE /v1/spaces/{id}/members/{user}",
        what: "oneself",
        ask: Ask::Http(|asker| {
            let path = of_space(asker, &format!("members/{}", asker.user));
            asker.phone.request(Method::DELETE, &path)
        }),
        expect: Expect::Members(["204"; 3]),
    },
    Row {
        route: "GET /v1/spaces/{id}/invites",
        what: "",
        ask: Ask::Http(|asker| get(asker, &of_space(asker, "invites"))),
        expect: Expect::Members(["403", "403", "200"]),
    },
    Row {
        route: "POST /v1/spaces/{id}/invites",
        what: "",
        ask: Ask::Http(|asker| {
            with(asker, Method::POST, &of_space(asker, "invites"), r#"{"schema":1,"role":"reader"}"#)
        }),
        expect: Expect::Members(["403", "403", "201"]),
    },
    Row {
        route: "DELETE /v1/spaces/{id}/invites/{invite}",
        what: "",
        ask: Ask::Http(|asker| {
            asker.phone.request(Method::DELETE, &of_space(asker, &format!("invites/{}", asker.ids.invite)))
        }),
        expect: Expect::Within(["403", "403", "204"], ["403", "403", "404"]),
    },
    Row {
        route: "POST /v1/invites/accept",
        what: "",
        ask: Ask::Http(|asker| {
            let body = format!(r#"{{"schema":1,"token":"{}"}}"#, asker.ids.token);
            with(asker, Method::POST, "/v1/invites/accept", &body)
        }),
        expect: Expect::By(|role, whose| match (role, whose) {
            // Somebody else's, used already, and nobody's.
            (_, Whose::Others | Whose::Nobodys) | (Role::Uninvited, _) => "404",
            (_, Whose::Own | Whose::Mixed) => "200",
        }),
    },
    Row {
        route: "GET /v1/devices",
        what: "",
        ask: Ask::Http(|asker| get(asker, "/v1/devices")),
        expect: Expect::Anybody("200"),
    },
    Row {
        route: "PATCH /v1/devices/{device}",
        what: "",
        ask: Ask::Http(|asker| {
            with(asker, Method::PATCH, &format!("/v1/devices/{}", asker.ids.device), r#"{"schema":1,"name":"Mine"}"#)
        }),
        expect: Expect::By(|_, whose| if whose == Whose::Own { "204" } else { "404" }),
    },
    Row {
        route: "DELETE /v1/devices/{device}",
        what: "",
        ask: Ask::Http(|asker| asker.phone.request(Method::DELETE, &format!("/v1/devices/{}", asker.ids.device))),
        expect: Expect::By(|_, whose| if whose == Whose::Own { "204" } else { "404" }),
    },
    Row {
        route: "POST /v1/accounts",
        what: "nothing",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/accounts", r#"{"schema":1}"#)),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "POST /v1/accounts/password",
        what: "nothing",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/accounts/password", r#"{"schema":1}"#)),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "POST /v1/accounts/delete",
        what: "nothing",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/accounts/delete", r#"{"schema":1}"#)),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "POST /v1/devices",
        what: "nothing",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/devices", r#"{"schema":1}"#)),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "POST /v1/logout",
        what: "nothing",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/logout", r#"{"schema":1,"who":"all"}"#)),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "POST /v1/oauth/device/approve",
        what: "nothing",
        ask: Ask::Http(|asker| with(asker, Method::POST, "/v1/oauth/device/approve", r#"{"schema":1}"#)),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "POST /v1/oauth/token",
        what: "nothing",
        ask: Ask::Http(|asker| form(asker, "/v1/oauth/token")),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "POST /v1/oauth/authorize",
        what: "nothing",
        ask: Ask::Http(|asker| form(asker, "/v1/oauth/authorize")),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "POST /v1/oauth/device",
        what: "nothing",
        ask: Ask::Http(|asker| form(asker, "/v1/oauth/device")),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "POST /v1/oauth/device_authorization",
        what: "nothing",
        ask: Ask::Http(|asker| form(asker, "/v1/oauth/device_authorization")),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "GET /v1/oauth/authorize",
        what: "",
        ask: Ask::Http(|asker| get(asker, "/v1/oauth/authorize")),
        expect: Expect::Anybody("400"),
    },
    Row {
        route: "GET /v1/oauth/device",
        what: "",
        ask: Ask::Http(|asker| get(asker, "/v1/oauth/device")),
        expect: Expect::Anybody("200"),
    },
    Row {
        route: "GET /v1/openapi.json",
        what: "",
        ask: Ask::Http(|asker| get(asker, "/v1/openapi.json")),
        expect: Expect::Anybody("200"),
    },
    Row {
        route: "GET /.well-known/jwks.json",
        what: "",
        ask: Ask::Http(|asker| get(asker, "/.well-known/jwks.json")),
        expect: Expect::Anybody("200"),
    },
    Row {
        route: "GET /.well-known/oauth-authorization-server",
        what: "",
        ask: Ask::Http(|asker| get(asker, "/.well-known/oauth-authorization-server")),
        expect: Expect::Anybody("200"),
    },
    Row {
        route: "GET /healthz",
        what: "",
        ask: Ask::Http(|asker| get(asker, "/healthz")),
        expect: Expect::Anybody("200"),
    },
    Row {
        route: "GET /readyz",
        what: "",
        ask: Ask::Http(|asker| get(asker, "/readyz")),
        expect: Expect::Anybody("200"),
    },
];

/// What became of the first item of a push.
fn verdict(answer: &Value) -> Option<String> {
    let result = &answer["push"]["taken"]["results"][0];
    Some(result.get("code").unwrap_or(&result["status"]).as_str()?.to_owned())
}

pub async fn push(asker: &mut Asker) -> Answer {
    let items = typing(asker.phone.device, 1);
    let body = serde_json::to_string(&asker.phone.push(items)).unwrap();
    let request = with(asker, Method::POST, "/v1/sync", &body).header("accept", JSON);
    Answer::of(request.send().await.unwrap(), verdict).await
}

pub async fn live(asker: &mut Asker) -> Answer {
    let items = typing(asker.phone.device, 1);
    let run = asker.phone.run(items);
    let mut link = asker.phone.link().await;
    let pull = Pull { since: None, bytes_max: None, own: true, version: false, snapshots: None };
    let space = asker.ids.space;
    link.say(&LiveRequest::Sync { id: 1, space, push: Some(run), pull: Some(pull), subscribe: true, snapshot: None })
        .await;
    Answer::live(link.hear().await, verdict)
}
