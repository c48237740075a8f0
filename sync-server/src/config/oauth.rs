//! Companions: apps on desktops and televisions that people let in.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{ConfigError, within};

/// Each request reads the list, and people should know every name on it.
const CLIENTS_MAX: usize = 64;
const REDIRECTS_MAX: usize = 16;
const REDIRECT_BYTES_MAX: usize = 1_024;
const ID_BYTES_MAX: usize = 64;
const NAME_CHARACTERS_MAX: usize = 100;

/// Companions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth {
    /// Where browsers and companions find this server.
    pub url: Option<String>,
    /// The apps that may ask.
    pub clients: Vec<OAuthClient>,
}

/// An app that may ask to be let in. It has no secret: what is installed everywhere keeps none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuthClient {
    /// What it calls itself when it asks.
    pub id: String,
    /// What people are shown.
    pub name: String,
    /// Where codes may be sent; none for apps that show a code themselves.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
}

impl OAuth {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let url = self.url.as_deref().is_none_or(is_base);
        within(url, "oauth.url", "an address such as https://sync.example.com, without a query")?;
        within(self.clients.len() <= CLIENTS_MAX, "oauth.clients", "at most 64 apps")?;
        self.clients.iter().try_for_each(|client| {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            let id = (1..=ID_BYTES_MAX).contains(&client.id.len()) && client.id.bytes().all(word);
            within(id, "oauth.clients.id", "1 to 64 of A-Z, a-z, 0-9 and -._")?;
            let of_that_id = self.clients.iter().filter(|other| other.id == client.id).count();
            within(of_that_id == 1, "oauth.clients.id", "another for each app")?;
            let name = (1..=NAME_CHARACTERS_MAX).contains(&client.name.chars().count());
            within(name && !client.name.chars().any(char::is_control), "oauth.clients.name", "1 to 100 characters")?;
            within(client.redirect_uris.len() <= REDIRECTS_MAX, "oauth.clients.redirect_uris", "at most 16")?;
            let redirects = client.redirect_uris.iter().all(|uri| redirect(uri).is_some());
            let must =
                "https://…, http://127.0.0.1/… or http://[::1]/…, or of a scheme with a dot such as com.example.app:/…";
            within(redirects, "oauth.clients.redirect_uris", must)
        })
    }
}

fn is_base(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

/// A place that codes may be sent to, written as the library writes it, so that no two readers take it for different ones.
pub(crate) fn redirect(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| text.len() <= REDIRECT_BYTES_MAX && url.as_str() == text)?;
    let plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let fine = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        // RFC 8252, section 7.1: a domain of the app's maker, backwards; nothing that browsers themselves understand.
        scheme => scheme.contains('.'),
    };
    (plain && fine).then_some(url)
}

/// RFC 8252, section 7.3: the app's own listener, by its address, since names may lead elsewhere.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.octets() == [127, 0, 0, 1],
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn client(fields: &str) -> String {
        format!("[[oauth.clients]]\nid = \"desktop\"\nname = \"Notes\"\n{fields}\n")
    }

    #[test]
    fn apps_and_where_codes_may_be_sent() {
        let good =
            client("redirect_uris = ['http://127.0.0.1/cb', 'http://[::1]/', 'com.example:/cb', 'https://a.example/']");
        assert_eq!(Config::parse(&good).unwrap().oauth.clients[0].redirect_uris.len(), 4);
        for bad in [
            "http://127.0.0.1",
            "http://127.0.0.2/",
            "http://localhost/",
            "http://notes.example.com/",
            "https://notes.example.com",
            "https://notes.example.com/#a",
            "https://ann:secret@notes.example.com/",
            "HTTPS://notes.example.com/",
            "notes:/callback",
            "javascript:alert(1)",
            "callback",
            "",
        ] {
            let error = Config::parse(&client(&format!("redirect_uris = ['{bad}']"))).unwrap_err();
            assert!(error.to_string().starts_with("oauth.clients.redirect_uris"), "{bad}: {error}");
        }
        let error = Config::parse(&(client("") + &client(""))).unwrap_err();
        assert!(error.to_string().starts_with("oauth.clients.id"), "{error}");
        assert!(Config::parse(&client("client_secret = 'x'")).is_err());
        let error = Config::parse("[[oauth.clients]]\nid = 'a b'\nname = 'Notes'").unwrap_err();
        assert!(error.to_string().starts_with("oauth.clients.id"), "{error}");
    }

    #[test]
    fn where_the_server_is() {
        assert!(Config::parse("[oauth]\nurl = 'https://sync.example.com/rejoin'").is_ok());
        for bad in ["sync.example.com", "ftp://sync.example.com", "https://sync.example.com/?a", "https://a:b@c/"] {
            assert!(Config::parse(&format!("[oauth]\nurl = '{bad}'")).is_err(), "{bad}");
        }
    }
}
