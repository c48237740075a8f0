//! `/v1/oauth/device`: a page on which somebody types the code that a companion shows (RFC 8628).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use utoipa::{IntoParams, ToSchema};

use super::form::Form;
use super::page::{Page, SIGN_IN, alert, escape, hidden};
use crate::app::App;
use crate::auth::accounts;
use crate::auth::grants::device::{self, Waiting, Word};
use crate::error::ApiError;
use crate::router::observe::{Note, Told};

/// Which companion.
#[derive(IntoParams)]
#[expect(dead_code, reason = "read by the macro")]
pub(crate) struct Companion {
    /// The code that it shows: eight letters, with or without a dash, in either case.
    user_code: Option<String>,
}

/// Who says yes or no.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(crate) struct DeviceForm {
    /// The code that the companion shows.
    user_code: String,
    /// `allow` or `deny`.
    answer: String,
    /// The address of an account here.
    email: String,
    /// Its password.
    password: String,
}

/// The page: it asks for the code, and then says whose it is.
#[utoipa::path(
    get,
    path = "/v1/oauth/device",
    params(Companion),
    responses(
        (status = 200, description = "A page", body = String, content_type = "text/html"),
        (status = 400, description = "A page that says why not", body = String, content_type = "text/html"),
        (status = 404, description = "The page again: no companion shows this code", body = String, content_type = "text/html"),
        (status = 429, description = "A page that says to come again", body = String, content_type = "text/html"),
        (status = 503, description = "A page that says to come again", body = String, content_type = "text/html"),
    ),
)]
pub(crate) async fn page(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let mut form = Form::read(uri.query().unwrap_or_default().as_bytes())?;
    let code = form.optional("user_code");
    form.done()?;
    let Some(code) = code else { return Ok(typing(StatusCode::OK, None).into_response()) };
    match device::waiting(&app, &code.0).await? {
        Some(waiting) => Ok(asking(&waiting, StatusCode::OK, None).into_response()),
        None => Ok(unknown(&app)),
    }
}

/// What somebody answers on it.
#[utoipa::path(
    post,
    path = "/v1/oauth/device",
    request_body(content = DeviceForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A page that says to go back to the companion", body = String, content_type = "text/html"),
        (status = 400, description = "A page that says why not", body = String, content_type = "text/html"),
        (status = 403, description = "The page again", body = String, content_type = "text/html"),
        (status = 404, description = "The page again: no companion shows this code", body = String, content_type = "text/html"),
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
    let (code, answer) = (form.required("user_code")?, form.required("answer")?.0);
    let field = |value: Option<_>| value.unwrap_or_else(|| "".into());
    let (email, password) = (field(form.optional("email")), field(form.optional("password")));
    form.done()?;
    let approve = match answer.as_str() {
        "allow" => true,
        "deny" => false,
        _ => return Err(ApiError::invalid("answer", "allow or deny")),
    };
    let Some(waiting) = device::waiting(&app, &code.0).await? else { return Ok(unknown(&app)) };
    let decided = async {
        let account = accounts::sign_in(&app, Some(&note), &email.0, &password.0).await?;
        let word = Word { user: &account.user, display_name: Some(&account.display_name), on: None, approve };
        device::decide(&app, &note, word, &waiting.user_code).await
    };
    match decided.await {
        Ok(()) => Ok(done(approve).into_response()),
        Err(error) if error.is_of_the_user() => {
            let page = asking(&waiting, error.status_of_page(), Some(&error)).into_response();
            Ok(Told::with(error, page, app.retry_after()))
        }
        Err(error) => Err(error),
    }
}

fn typing(status: StatusCode, error: Option<&str>) -> Page {
    let body = [
        error.map_or(String::new(), alert),
        "<form method=\"get\" action=\"device\">".to_owned(),
        "<label for=\"user_code\">The code that your device shows</label>".to_owned(),
        "<input id=\"user_code\" name=\"user_code\" autocomplete=\"off\" autocapitalize=\"characters\" spellcheck=\"false\" \
         maxlength=\"32\" required autofocus><button>Next</button></form>"
            .to_owned(),
    ];
    Page { status, title: "Connect a device", body: body.concat(), leads_to: None }
}

fn unknown(app: &App) -> Response {
    let message = "No device shows this code now. It may have expired, or be mistyped.";
    let page = typing(StatusCode::NOT_FOUND, Some(message)).into_response();
    Told::with(ApiError::not_found(), page, app.retry_after())
}

fn asking(waiting: &Waiting, status: StatusCode, error: Option<&ApiError>) -> Page {
    let (name, code) = (escape(&waiting.name), escape(&waiting.user_code));
    let body = [
        error.map_or(String::new(), |error| alert(&error.message())),
        format!("<p><strong>{name}</strong> shows the code</p><p><code>{code}</code></p>"),
        "<p>Sign in to let it work with your account. If the device before you does not show this code, close this page: \
         somebody else may have sent you here.</p>"
            .to_owned(),
        "<form method=\"post\" action=\"device\">".to_owned(),
        hidden("user_code", &waiting.user_code),
        SIGN_IN.to_owned(),
        "<button name=\"answer\" value=\"allow\">Allow</button>".to_owned(),
        "<button name=\"answer\" value=\"deny\">Deny</button></form>".to_owned(),
    ];
    Page { status, title: "Connect a device", body: body.concat(), leads_to: None }
}

fn done(approve: bool) -> Page {
    let text = if approve { "Go back to it: it is being signed in." } else { "It was not let in." };
    Page {
        status: StatusCode::OK,
        title: "Connect a device",
        body: format!("<p role=\"status\">{text}</p>"),
        leads_to: None,
    }
}
