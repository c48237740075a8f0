//! The authorization request: what an app asks for when it sends somebody here with a browser (RFC 6749, RFC 7636).

use sync_core::wire::ErrorCode;
use url::Url;

use super::clients::allowed;
use crate::app::App;
use crate::error::ApiError;
use crate::handlers::form::Form;

/// The app gets it back as it was; it needs no more than a random number.
const STATE_BYTES_MAX: usize = 1_024;
/// A SHA-256 in base64url.
const CHALLENGE_BYTES: usize = 43;

/// What an app asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) client: String,
    /// What people are shown.
    pub(crate) name: String,
    pub(crate) redirect: Url,
    pub(crate) state: Option<String>,
    pub(crate) challenge: String,
}

/// Why it gets nothing.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nobody knows the app, or it may not be answered there: so only whoever sits at the browser is told.
    Here(ApiError),
    /// The app is told.
    Back(Url),
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Here(error)
    }
}

impl Asked {
    /// Takes the request's fields out of a form.
    pub(crate) fn read(app: &App, form: &mut Form) -> Result<Self, Refused> {
        let client = app.clients.find(&form.required("client_id")?.0)?;
        let redirect = form.required("redirect_uri")?.0;
        let message = "The app may not be answered at this `redirect_uri`.";
        let redirect = allowed(client, &redirect)
            .ok_or_else(|| ApiError::oauth("invalid_request", ErrorCode::Invalid, message))?;
        let mut field = |name| form.optional(name).map(|value| value.0);
        let state = field("state");
        let state_fits = state.as_deref().is_none_or(is_state);
        let state = state.filter(|_| state_fits);
        let refused = |error, description| Refused::Back(refusal(app, &redirect, state.as_deref(), error, description));
        if !state_fits {
            return Err(refused("invalid_request", "state must be at most 1,024 visible characters"));
        }
        if field("response_type").as_deref() != Some("code") {
            return Err(refused("unsupported_response_type", "response_type must be code"));
        }
        if field("response_mode").is_some_and(|mode| mode != "query") {
            return Err(refused("invalid_request", "response_mode must be query"));
        }
        if field("code_challenge_method").as_deref() != Some("S256") {
            return Err(refused("invalid_request", "code_challenge_method must be S256"));
        }
        let Some(challenge) = field("code_challenge").filter(|challenge| is_challenge(challenge)) else {
            return Err(refused("invalid_request", "code_challenge must be 43 characters of base64url"));
        };
        Ok(Self { client: client.id.clone(), name: client.name.clone(), redirect, state, challenge })
    }

    /// Where the browser goes with a code.
    pub(crate) fn granted(&self, app: &App, code: &str) -> Url {
        back(app, &self.redirect, self.state.as_deref(), &[("code", code)])
    }

    /// Where it goes when somebody says no.
    pub(crate) fn denied(&self, app: &App) -> Url {
        refusal(app, &self.redirect, self.state.as_deref(), "access_denied", "not let in")
    }
}

fn is_state(state: &str) -> bool {
    state.len() <= STATE_BYTES_MAX && state.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn is_challenge(challenge: &str) -> bool {
    let of_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    challenge.len() == CHALLENGE_BYTES && challenge.bytes().all(of_alphabet)
}

fn refusal(app: &App, redirect: &Url, state: Option<&str>, error: &str, description: &str) -> Url {
    back(app, redirect, state, &[("error", error), ("error_description", description)])
}

fn back(app: &App, redirect: &Url, state: Option<&str>, what: &[(&str, &str)]) -> Url {
    let mut url = redirect.clone();
    // RFC 9207: so that an app which asks several servers knows which one answers.
    url.query_pairs_mut()
        .extend_pairs(what)
        .extend_pairs(state.map(|state| ("state", state)))
        .append_pair("iss", app.clients.issuer());
    url
}
