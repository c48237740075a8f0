//! `/v1/oauth/authorize`: a page on which somebody lets a companion in, with the address and the password that the companion
//! itself never sees (RFC 6749, RFC 7636, RFC 9207).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::form::Form;
use super::page::{Page, SIGN_IN, alert, escape, hidden};
use crate::app::App;
use crate::auth::grants;
use crate::auth::grants::authorize::{Asked, Refused};
use crate::error::ApiError;
use crate::router::observe::{Note, Told};

/// What an app asks for. Other parameters are not looked at, as RFC 6749 has it.
#[derive(IntoParams, ToSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(crate) struct Authorize {
    /// The app.
    client_id: String,
    /// Where its code is sent.
    redirect_uri: String,
    /// `code`.
    response_type: String,
    /// What the app gets back with it, at most 1,024 visible characters.
    state: Option<String>,
    /// The SHA-256 of the app's verifier, in base64url.
    code_challenge: String,
    /// `S256`.
    code_challenge_method: String,
}

/// The same, and who says yes or no.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(crate) struct AuthorizeForm {
    /// What the app asks for.
    #[schema(inline)]
    #[serde(flatten)]
    asked: Authorize,
    /// `allow` or `deny`.
    answer: String,
    /// The address of an account here; not needed to deny.
    email: Option<String>,
    /// Its password.
    password: Option<String>,
}

/// The page.
#[utoipa::path(
    get,
    path = "/v1/oauth/authorize",
    params(Authorize),
    responses(
        (status = 200, description = "A page", body = String, content_type = "text/html"),
        (status = 303, description = "Back to the app, with `error`, `state` and `iss`"),
        (status = 400, description = "A page that says why not", body = String, content_type = "text/html"),
        (status = 429, description = "A page that says to come again", body = String, content_type = "text/html"),
        (status = 503, description = "A page that says to come again", body = String, content_type = "text/html"),
    ),
)]
pub(crate) async fn page(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let mut form = Form::read(uri.query().unwrap_or_default().as_bytes())?;
    match Asked::read(&app, &mut form) {
        Ok(asked) => Ok(shown(&asked, StatusCode::OK, None).into_response()),
        Err(Refused::Here(error)) => Err(error),
        Err(Refused::Back(url)) => Ok(see(&url)),
    }
}

/// What somebody answers on it.
#[utoipa::path(
    post,
    path = "/v1/oauth/authorize",
    request_body(content = AuthorizeForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "Back to the app, with `code` or `error`, `state` and `iss`"),
        (status = 400, description = "A page that says why not", body = String, content_type = "text/html"),
        (status = 403, description = "The page again", body = String, content_type = "text/html"),
        (status = 415, description = "A page that says why not", body = String, content_type = "text/html"),
        (status = 429, description = "The page again, and when to come", body = String, content_type = "text/html"),
        (status = 503, description = "The page again", body = String, content_type = "text/html"),
    ),
)]
pub(crate) async fn answer(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut form = Form::of(&app, request).await?;
    let answer = form.required("answer")?.0;
    let (email, password) = (form.optional("email"), form.optional("password"));
    let asked = match Asked::read(&app, &mut form) {
        Ok(asked) => asked,
        Err(Refused::Here(error)) => return Err(error),
        Err(Refused::Back(url)) => return Ok(see(&url)),
    };
    form.done()?;
    let granted = match answer.as_str() {
        "deny" => return Ok(see(&asked.denied(&app))),
        "allow" => {
            let (email, password) = (email.unwrap_or_else(|| "".into()), password.unwrap_or_else(|| "".into()));
            grants::approve(&app, &note, &asked, &email.0, &password.0).await
        }
        _ => return Err(ApiError::invalid("answer", "allow or deny")),
    };
    match granted {
        Ok(code) => Ok(see(&asked.granted(&app, &code))),
        Err(error) if error.is_of_the_user() => {
            let page = shown(&asked, error.status_of_page(), Some(&error)).into_response();
            Ok(Told::with(error, page, app.retry_after()))
        }
        Err(error) => Err(error),
    }
}

fn shown(asked: &Asked, status: StatusCode, error: Option<&ApiError>) -> Page {
    let name = escape(&asked.name);
    let state = asked.state.as_deref().map_or(String::new(), |state| hidden("state", state));
    let body = [
        error.map_or(String::new(), |error| alert(&error.message())),
        format!("<p>Sign in to let <strong>{name}</strong> work with your account.</p>"),
        "<form method=\"post\" action=\"authorize\">".to_owned(),
        hidden("client_id", &asked.client),
        hidden("redirect_uri", asked.redirect.as_str()),
        hidden("response_type", "code"),
        state,
        hidden("code_challenge", &asked.challenge),
        hidden("code_challenge_method", "S256"),
        SIGN_IN.to_owned(),
        "<button name=\"answer\" value=\"allow\">Allow</button>".to_owned(),
        "<button name=\"answer\" value=\"deny\" formnovalidate>Cancel</button></form>".to_owned(),
        "<p>If you have not just asked for this in that app, close this page.</p>".to_owned(),
    ];
    Page { status, title: "Sign in", body: body.concat(), leads_to: Some(asked.redirect.clone()) }
}

/// Sends the browser on, with GET whatever it came with.
fn see(url: &Url) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Addresses are ASCII.
    if let Ok(location) = HeaderValue::from_str(url.as_str()) {
        headers.insert(header::LOCATION, location);
    }
    response
}
