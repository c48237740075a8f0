//! The apps that may ask to be let in, and where what they asked for may be sent.

use url::Url;

use crate::config::oauth::{is_loopback, redirect};
use crate::config::{Config, OAuthClient};
use crate::error::ApiError;
use sync_core::wire::ErrorCode;

/// The apps, and where this server is.
pub(crate) struct Clients {
    base: String,
    clients: Vec<OAuthClient>,
}

impl Clients {
    pub(crate) fn new(config: &Config) -> Self {
        let base = config.oauth.url.clone().unwrap_or_else(|| format!("http://{}", config.listen));
        Self { base: base.trim_end_matches('/').to_owned(), clients: config.oauth.clients.clone() }
    }

    /// Who answers, as RFC 8414 and RFC 9207 have it.
    pub(crate) fn issuer(&self) -> &str {
        &self.base
    }

    /// Where a route is.
    pub(crate) fn place(&self, route: &str) -> String {
        format!("{}{route}", self.base)
    }

    /// The app of that id.
    pub(crate) fn find(&self, id: &str) -> Result<&OAuthClient, ApiError> {
        let found = self.clients.iter().find(|client| client.id == id);
        let message = "No app of this `client_id` may ask here.";
        found.ok_or_else(|| ApiError::oauth("invalid_client", ErrorCode::Invalid, message))
    }
}

/// Where a code goes, if the app may have it sent there.
pub(super) fn allowed(client: &OAuthClient, asked: &str) -> Option<Url> {
    let asked = redirect(asked)?;
    let known = client.redirect_uris.iter().any(|known| {
        known == asked.as_str() || redirect(known).is_some_and(|known| without_port(&known) == without_port(&asked))
    });
    known.then_some(asked)
}

/// RFC 8252, section 7.3: an app listens on whichever port is free. Anything else has its port.
fn without_port(url: &Url) -> Url {
    let mut url = url.clone();
    if url.scheme() == "http" && is_loopback(&url) {
        // It has a host, so it may have a port.
        let _ = url.set_port(None);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_only_where_the_app_said() {
        let registered = [
            "http://127.0.0.1/callback",
            "http://[::1]/callback",
            "com.example.notes:/callback",
            "https://notes.example.com/callback?from=sync",
        ];
        let client = OAuthClient {
            id: "desktop".to_owned(),
            name: "Notes".to_owned(),
            redirect_uris: registered.map(str::to_owned).to_vec(),
        };
        for good in registered {
            assert_eq!(allowed(&client, good).unwrap().as_str(), good);
        }
        for good in ["http://127.0.0.1:4711/callback", "http://[::1]:65535/callback"] {
            assert_eq!(allowed(&client, good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "callback",
            "http://127.0.0.1/",
            "http://127.0.0.1:4711/callback/",
            "http://127.0.0.1:4711/callback?a",
            "http://127.0.0.1:4711/callback#a",
            "http://127.0.0.1:4711/x/../callback",
            "http://127.0.0.1:4711/%63allback",
            "http://127.0.0.1:99999/callback",
            "http://ann@127.0.0.1:4711/callback",
            "http://127.0.0.1.example.com/callback",
            "http://127.0.0.1@example.com/callback",
            "http://127.0.0.2/callback",
            "http://127.1/callback",
            "http://localhost/callback",
            "HTTP://127.0.0.1/callback",
            "https://127.0.0.1/callback",
            "https://notes.example.com/callback",
            "https://notes.example.com:444/callback?from=sync",
            "https://notes.example.com/callback?from=sync&to=eve",
            "https://notes.example.com.eve.example/callback?from=sync",
            "http://notes.example.com/callback?from=sync",
            "com.example.notes:/callback/",
            "com.example.notes:callback",
            "com.example.Notes:/callback",
            "com.example.other:/callback",
            "javascript:alert(1)",
            "data:text/html,callback",
        ] {
            assert_eq!(allowed(&client, bad), None, "{bad}");
        }
    }
}
