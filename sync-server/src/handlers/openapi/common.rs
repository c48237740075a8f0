//! What follows from the route table and from what a route takes, for every operation alike: answers, headers, formats.

use sync_core::wire::ErrorResponse;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Content, Header, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, ToSchema};

use super::{OAuthRefusal, Refusals};
use crate::router::{ROUTES, Refusals as Form, Route, Who};

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
            components
                .responses
                .insert(refusal.name.to_owned(), refusal.response(Form::Frames, refusal.description).into());
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

/// Not in the path.
fn names_a_space(route: &Route) -> bool {
    ["/v1/sync", "/v1/heal", "/v1/events"].contains(&route.path)
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
        status: "410",
        name: "Gone",
        description: "The space was deleted while the caller was a member (`space_deleted`), or what was asked for is kept in a \
                      form that this app does not take (`upgrade_required`).",
        header: None,
        on: |route, _| route.path.contains("/spaces/{id}") || names_a_space(route),
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
    /// The answer, in the form that the route's refusals have.
    fn response(&self, form: Form, description: &str) -> Response {
        let mut response = ResponseBuilder::new().description(description);
        for (content_type, schema) in body(form) {
            response = response.content(*content_type, Content::new(Some(schema())));
        }
        for name in COMMON_HEADERS.iter().copied().chain(self.header) {
            response = response.header_ref(name, to_header(name));
        }
        response.build()
    }

    /// What stands for it, where nothing else is to be said.
    fn plain(&self, form: Form) -> RefOr<Response> {
        // Of a method that no route takes nobody knows what its refusals would look like.
        let form = if self.status == "405" { Form::Frames } else { form };
        match form {
            Form::Frames => RefOr::Ref(Ref::new(format!("#/components/responses/{}", self.name))),
            form => self.response(form, self.description).into(),
        }
    }
}

/// A type of body, and its schema.
type Typed = (&'static str, fn() -> RefOr<Schema>);

fn body(form: Form) -> &'static [Typed] {
    const FRAME: fn() -> RefOr<Schema> = || Ref::from_schema_name(ErrorResponse::name()).into();
    match form {
        Form::Frames => &[(JSON, FRAME), (MSGPACK, FRAME)],
        Form::OAuth => &[(JSON, || Ref::from_schema_name(OAuthRefusal::name()).into())],
        Form::Pages => &[("text/html", || ObjectBuilder::new().schema_type(Type::String).into())],
    }
}

fn to_header(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
}

/// Headers of every answer; the limits' where there are any.
const COMMON_HEADERS: [&str; 3] = ["X-Request-Id", "RateLimit", "RateLimit-Policy"];

/// What is described once, by its name.
type Named<T> = (&'static str, fn() -> T);

const HEADERS: &[Named<Header>] = &[
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

const PARAMETERS: &[Named<Parameter>] = &[
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
    let (keyed, works) = (is_keyed(route, operation), works(route, operation));
    // Handlers in different files are called alike.
    let words = route.path.split(|other: char| !other.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name =
        std::iter::once(route.method.to_lowercase()).chain(words.map(str::to_owned)).collect::<Vec<_>>().join("_");
    operation.operation_id = Some(name);
    complete_refusals(operation, route);
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            if response.description.is_empty() {
                told(status).clone_into(&mut response.description);
            }
            let replayed = (keyed && status.starts_with('2')).then_some("Idempotency-Replayed");
            for name in COMMON_HEADERS.into_iter().chain(replayed) {
                response.headers.entry(name.to_owned()).or_insert_with(|| RefOr::Ref(to_header(name)));
            }
            also_msgpack(response.content.contains_key(JSON) && works && route.refusals == Form::Frames, |content| {
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
        let told = if most >= 1 << 20 { format!("{} MiB", most >> 20) } else { format!("{} KiB", most >> 10) };
        body.description.get_or_insert(format!("At most {told}."));
    }
    let mut parameters = Vec::new();
    if works {
        parameters.extend(["AppPlatform", "AppVersion"]);
    }
    if keyed {
        parameters.push("IdempotencyKey");
    }
    let to_parameter = |name| RefOr::Ref(Ref::new(format!("#/components/parameters/{name}")));
    operation.parameters.get_or_insert_default().extend(parameters.into_iter().map(to_parameter));
}

/// Where the route says nothing more of it.
fn told(status: &str) -> &'static str {
    match status {
        "201" => "It is there now.",
        "202" => "It was taken.",
        "204" => "It is done.",
        _ => "What was asked for.",
    }
}

fn complete_refusals(operation: &mut Operation, route: &Route) {
    let general = Refusals::responses();
    if route.refusals == Form::OAuth {
        // RFC 6749, section 5.2: what is wrong with a grant is wrong with the request.
        operation.responses.responses.retain(|status, _| !["401", "404"].contains(&status.as_str()));
    }
    for refusal in REFUSALS {
        let told = operation.responses.responses.get(refusal.status);
        let completed = match told {
            None if (refusal.on)(route, operation) => refusal.plain(route.refusals),
            Some(told) if general.get(refusal.status) == Some(told) => refusal.plain(route.refusals),
            None | Some(RefOr::Ref(_)) => continue,
            // What the route says of it stays; the rest is the same for all.
            Some(RefOr::T(told)) => refusal.response(route.refusals, &told.description).into(),
        };
        operation.responses.responses.insert(refusal.status.to_owned(), completed);
    }
}

/// Frames are JSON or msgpack. The schema of the former is not that of the latter: see the description of the whole.
fn also_msgpack(is_json: bool, add: impl FnOnce(RefOr<Content>)) {
    if is_json {
        let mut content = Content::default();
        content.description = Some("The same frame in MessagePack.".to_owned());
        add(content.into());
    }
}
