//! What follows from the route table and from what a route takes, for every operation alike: answers, headers, formats.

use sync_core::limits::BODY_BYTES_MAX;
use sync_core::wire::ErrorResponse;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Content, Header, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder};
use utoipa::{Modify, ToSchema};

use crate::router::{ROUTES, Route, Who};

const JSON: &str = "application/json";
const MSGPACK: &str = "application/msgpack";

/// Adds it.
pub(super) struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        for (name, parameter) in PARAMETERS {
            components.parameters.insert((*name).to_owned(), parameter().into());
        }
        for (name, header) in HEADERS {
            components.headers.insert((*name).to_owned(), header().into());
        }
        for refusal in REFUSALS {
            components.responses.insert(refusal.name.to_owned(), refusal.response().into());
        }
        for route in ROUTES {
            if let Some(operation) = operation(openapi, route) {
                complete(operation, route);
            }
        }
    }
}

/// The operation of a route, if it is described.
pub(super) fn operation<'a>(openapi: &'a mut OpenApi, route: &Route) -> Option<&'a mut Operation> {
    let item = openapi.paths.paths.get_mut(route.path)?;
    match route.method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

/// A refusal that is the same on every route.
struct Refusal {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    /// Its own header, besides those of every answer.
    header: Option<&'static str>,
    /// Whether a route may answer it.
    on: fn(&Route, &Operation) -> bool,
}

fn works(route: &Route, _: &Operation) -> bool {
    route.who != Who::Probe
}

fn takes_a_body(_: &Route, operation: &Operation) -> bool {
    operation.request_body.is_some()
}

/// Keys stand for requests that change something, of somebody.
fn is_keyed(route: &Route, _: &Operation) -> bool {
    route.who == Who::Caller && route.method != "GET"
}

/// All of them. Those of [`Refusals`](super::Refusals) among them are what it says, in full.
const REFUSALS: &[Refusal] = &[
    Refusal {
        status: "400",
        name: "BadRequest",
        description: "The request is not of the form that the route takes; the message names the field or the header.",
        header: None,
        on: works,
    },
    Refusal {
        status: "401",
        name: "Unauthorized",
        description: "Nobody who may call is named: no valid access token, or what is to prove it does not.",
        header: Some("WWW-Authenticate"),
        on: |route, _| route.who == Who::Caller,
    },
    Refusal {
        status: "403",
        name: "Forbidden",
        description: "The caller may know of it, and may not do that.",
        header: None,
        on: |_, _| false,
    },
    Refusal {
        status: "404",
        name: "NotFound",
        description: "It does not exist, or the caller may not know that it does.",
        header: None,
        on: |route, _| route.path.contains('{'),
    },
    Refusal {
        status: "405",
        name: "MethodNotAllowed",
        description: "The route exists, and does not take that method.",
        header: Some("Allow"),
        on: |_, _| true,
    },
    Refusal {
        status: "408",
        name: "BodyTimeout",
        description: "The body did not arrive in time.",
        header: None,
        on: takes_a_body,
    },
    Refusal {
        status: "409",
        name: "Conflict",
        description: "It cannot be done as things are: `code` says why. With a `Retry-After`, the same request is still worked on.",
        header: Some("Retry-After"),
        on: is_keyed,
    },
    Refusal {
        status: "413",
        name: "TooLarge",
        description: "The body, or what it asks for, is larger than allowed.",
        header: None,
        on: takes_a_body,
    },
    Refusal {
        status: "415",
        name: "UnsupportedMediaType",
        description: "The body is of none of the described types, or compressed.",
        header: None,
        on: takes_a_body,
    },
    Refusal {
        status: "422",
        name: "IdempotencyMismatch",
        description: "The `Idempotency-Key` stands for another request.",
        header: None,
        on: is_keyed,
    },
    Refusal {
        status: "426",
        name: "UpgradeRequired",
        description: "The app is too old; `update_url` says where to update it.",
        header: Some("Upgrade"),
        on: works,
    },
    Refusal {
        status: "429",
        name: "RateLimited",
        description: "Too often; come again when `Retry-After` has passed.",
        header: Some("Retry-After"),
        on: works,
    },
    Refusal {
        status: "500",
        name: "Internal",
        description: "A fault of the server; its log has more under the request's id.",
        header: None,
        on: |_, _| true,
    },
    Refusal {
        status: "503",
        name: "Unavailable",
        description: "The server is full, stops, or cannot reach its storage; come again.",
        header: Some("Retry-After"),
        on: works,
    },
];

impl Refusal {
    fn response(&self) -> Response {
        let error = || Content::new(Some(Ref::from_schema_name(ErrorResponse::name())));
        let mut response = ResponseBuilder::new().description(self.description).content(JSON, error());
        response = response.content(MSGPACK, error());
        for name in COMMON_HEADERS.iter().copied().chain(self.header) {
            response = response.header_ref(name, to_header(name));
        }
        response.build()
    }
}

fn to_header(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
}

/// Headers of every answer; the limits' where there are any.
const COMMON_HEADERS: [&str; 3] = ["X-Request-Id", "RateLimit", "RateLimit-Policy"];

const HEADERS: &[(&str, fn() -> Header)] = &[
    ("X-Request-Id", || header("What the request goes by in the server's log.", Type::String)),
    ("RateLimit", || header("Where the tightest limit stands (draft-ietf-httpapi-ratelimit-headers).", Type::String)),
    ("RateLimit-Policy", || header("What that limit is.", Type::String)),
    ("Retry-After", || header("Seconds to wait.", Type::Integer)),
    ("WWW-Authenticate", || header("`Bearer`.", Type::String)),
    ("Allow", || header("The methods that the route takes.", Type::String)),
    ("Upgrade", || header("`rejoin-app/` and the version that the app has to have at least.", Type::String)),
    ("Idempotency-Replayed", || header("`true`, where an answer is given again.", Type::String)),
];

fn header(description: &str, of: Type) -> Header {
    let schema = ObjectBuilder::new().schema_type(SchemaType::new(of)).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}

const PARAMETERS: &[(&str, fn() -> Parameter)] = &[
    ("AppPlatform", || {
        let description = "The app's platform: `ios`, `android`, `macos`, `windows`, `linux`, `web` or another word.";
        parameter("X-App-Platform", description, "^[a-z0-9-]{1,32}$", None)
    }),
    ("AppVersion", || {
        let description = "The app's version. With the platform it says whether the app is still served.";
        let number = "[0-9]{1,9}";
        let words = "[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*";
        let version = format!("^{number}(\\.{number}){{0,3}}(-{words})?(\\+{words})?$");
        parameter("X-App-Version", description, &version, Some(32))
    }),
    ("IdempotencyKey", || {
        let description = "The same request with the same key within a day is done once, and answered the same.";
        parameter("Idempotency-Key", description, "^[!-~]{1,255}$", None)
    }),
];

fn parameter(name: &str, description: &str, pattern: &str, length_max: Option<usize>) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).max_length(length_max);
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
    parameter.description(Some(description)).schema(Some(Schema::Object(schema.build()))).build()
}

fn complete(operation: &mut Operation, route: &Route) {
    let fitting = |refusal: &&Refusal| (refusal.on)(route, operation);
    let mut wanted: Vec<&str> = REFUSALS.iter().filter(fitting).map(|refusal| refusal.status).collect();
    wanted.extend(
        operation
            .responses
            .responses
            .keys()
            .filter_map(|status| REFUSALS.iter().map(|refusal| refusal.status).find(|known| known == status)),
    );
    for refusal in REFUSALS.iter().filter(|refusal| wanted.contains(&refusal.status)) {
        let described = operation.responses.responses.entry(refusal.status.to_owned()).or_insert_with(|| to(refusal));
        // A route that answers with another body keeps its own.
        if is_plain(described) {
            *described = to(refusal);
        }
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            let replayed =
                (is_keyed(route, &Operation::default()) && status.starts_with('2')).then_some("Idempotency-Replayed");
            for name in COMMON_HEADERS.into_iter().chain(replayed) {
                response.headers.entry(name.to_owned()).or_insert_with(|| RefOr::Ref(to_header(name)));
            }
            also_msgpack(response.content.contains_key(JSON) && works(route, &Operation::default()), |content| {
                response.content.entry(MSGPACK.to_owned()).or_insert(content);
            });
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        also_msgpack(body.content.contains_key(JSON), |content| {
            body.content.entry(MSGPACK.to_owned()).or_insert(content);
        });
        body.required = Some(Required::True);
        let most = route.body_bytes_max;
        let told =
            if most == BODY_BYTES_MAX { "At most 12 MiB.".to_owned() } else { format!("At most {} KiB.", most >> 10) };
        body.description.get_or_insert(told);
    }
    let mut parameters = Vec::new();
    if works(route, operation) {
        parameters.extend(["AppPlatform", "AppVersion"]);
    }
    if is_keyed(route, operation) {
        parameters.push("IdempotencyKey");
    }
    let to_parameter = |name| RefOr::Ref(Ref::new(format!("#/components/parameters/{name}")));
    operation.parameters.get_or_insert_default().extend(parameters.into_iter().map(to_parameter));
}

fn to(refusal: &Refusal) -> RefOr<Response> {
    RefOr::Ref(Ref::new(format!("#/components/responses/{}", refusal.name)))
}

/// Whether it is what [`Refusals`](super::Refusals) makes, or a description alone.
fn is_plain(response: &RefOr<Response>) -> bool {
    let RefOr::T(response) = response else { return false };
    let error = RefOr::Ref(Ref::from_schema_name(ErrorResponse::name()));
    response.content.values().all(|content| match content {
        RefOr::T(content) => content.schema.as_ref() == Some(&error),
        RefOr::Ref(_) => false,
    })
}

/// Frames are JSON or msgpack. The schema of the former is not that of the latter: see the description of the whole.
fn also_msgpack(is_json: bool, add: impl FnOnce(RefOr<Content>)) {
    if is_json {
        let mut content = Content::default();
        content.description = Some("The same frame in MessagePack.".to_owned());
        add(content.into());
    }
}
