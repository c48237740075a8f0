//! Access tokens, and whose word is taken for who somebody is.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{ConfigError, within};

/// Each provider has its keys fetched, and its name asked for each token.
const ISSUERS_MAX: usize = 16;
/// Apps of one provider: a web app, phones, televisions.
const CLIENT_IDS_MAX: usize = 32;
/// It is part of every user's name.
const NAME_BYTES_MAX: usize = 32;
/// A token of a stranger is not to hold forever because of clocks.
const LEEWAY_SECONDS_MAX: u64 = 60;

/// Access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// Who issues tokens.
    pub issuer: String,
    /// The environment, which the issuer's name in tokens ends with.
    pub environment: String,
    /// For whom tokens are meant.
    pub audience: String,
    /// How long an access token of a session holds.
    pub access_seconds: u64,
    /// How long a refresh token holds if it is not used.
    pub refresh_seconds: u64,
    /// How long the very last refresh may be repeated.
    pub refresh_repeat_ms: u64,
    /// By how much the clocks of providers may differ from ours.
    pub leeway_seconds: u64,
    /// OpenID providers that are believed.
    pub issuers: Vec<TokenIssuer>,
}

/// An OpenID provider that is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIssuer {
    /// What its users' names begin with here.
    pub name: String,
    /// Its issuer, exactly as its tokens name it.
    pub url: String,
    /// The apps that it knows by these ids: ID tokens for others are not taken.
    #[serde(default)]
    pub client_ids: Vec<String>,
    /// Its access tokens for this audience are taken, too, if they name the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_audience: Option<String>,
    /// Where its keys are, instead of where it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            issuer: "rejoin".to_owned(),
            environment: "development".to_owned(),
            audience: "rejoin".to_owned(),
            access_seconds: 900,
            refresh_seconds: 30 * 86_400,
            refresh_repeat_ms: 30_000,
            leeway_seconds: 60,
            issuers: Vec::new(),
        }
    }
}

/// A word that a name is put together of.
fn is_word(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(fine)
}

/// What nobody on the way can change: TLS, or this machine.
fn is_safe_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    plain && (url.scheme() == "https" || url.scheme() == "http" && loopback)
}

impl Token {
    /// Our own issuer, as tokens name it: those of one environment fail in all others, whatever keys they share.
    pub fn own_issuer(&self) -> String {
        format!("{}/{}", self.issuer, self.environment)
    }

    /// How long a refresh token holds if it is not used.
    pub(crate) fn refresh_ms(&self) -> u64 {
        self.refresh_seconds.saturating_mul(1_000)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within(!self.issuer.is_empty(), "token.issuer", "a name")?;
        within(is_word(&self.environment), "token.environment", "1 to 32 characters of a-z, 0-9 and -")?;
        within(!self.audience.is_empty(), "token.audience", "a name")?;
        // Keys that sign are forgotten an hour after they were last used at the earliest.
        within((60..=3_600).contains(&self.access_seconds), "token.access_seconds", "60 to 3,600")?;
        let refresh = self.access_seconds..=365 * 86_400;
        within(refresh.contains(&self.refresh_seconds), "token.refresh_seconds", "token.access_seconds to a year")?;
        within(self.refresh_repeat_ms <= 600_000, "token.refresh_repeat_ms", "at most 10 minutes")?;
        within(self.leeway_seconds <= LEEWAY_SECONDS_MAX, "token.leeway_seconds", "at most 60")?;
        within(self.issuers.len() <= ISSUERS_MAX, "token.issuers", "at most 16")?;
        self.issuers.iter().try_for_each(|issuer| {
            issuer.validate()?;
            let like = |same: fn(&TokenIssuer) -> &str| {
                self.issuers.iter().filter(|other| same(other) == same(issuer)).count() == 1
            };
            within(like(|issuer| &issuer.name), "token.issuers.name", "another for each issuer")?;
            let foreign = issuer.url != self.own_issuer();
            within(foreign && like(|issuer| &issuer.url), "token.issuers.url", "another for each issuer")
        })
    }
}

impl TokenIssuer {
    fn validate(&self) -> Result<(), ConfigError> {
        let safe = "an https URL (or http on this machine) without user or fragment";
        within(is_word(&self.name), "token.issuers.name", "1 to 32 characters of a-z, 0-9 and -")?;
        within(is_safe_url(&self.url) && !self.url.contains('?'), "token.issuers.url", safe)?;
        let names = |names: &[String]| names.iter().all(|name| !name.is_empty());
        let clients = names(&self.client_ids) && self.client_ids.len() <= CLIENT_IDS_MAX;
        within(clients, "token.issuers.client_ids", "at most 32 names")?;
        let audience = self.access_audience.as_deref();
        within(audience != Some(""), "token.issuers.access_audience", "a name")?;
        let of_use = audience.is_some() || !self.client_ids.is_empty();
        within(of_use, "token.issuers.client_ids", "given, or access_audience, else no token of it is taken")?;
        within(self.jwks_url.as_deref().is_none_or(is_safe_url), "token.issuers.jwks_url", safe)
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;

    const GOOD: &str = r#"
        [[token.issuers]]
        name = "example"
        url = "https://login.example.com/tenant"
        client_ids = ["app"]
    "#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        Config::parse(&GOOD.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn a_provider_is_https_or_on_this_machine() {
        Config::parse(GOOD).unwrap();
        for url in ["http://127.0.0.1:8080", "http://localhost:8080/a", "http://[::1]:80"] {
            Config::parse(&GOOD.replace("https://login.example.com/tenant", url)).unwrap();
        }
        for url in [
            "http://login.example.com",
            "http://10.0.0.1",
            "http://127.0.0.1.example.com",
            "https://user@login.example.com",
            "https://login.example.com/?tenant=1",
            "https://login.example.com/#a",
            "ftp://login.example.com",
            "login.example.com",
            "",
        ] {
            let error = refused("https://login.example.com/tenant", url);
            assert!(error.starts_with("token.issuers.url must be an https URL"), "{url}: {error}");
        }
        let error = refused("name = ", "jwks_url = \"http://login.example.com/keys\"\nname = ");
        assert!(error.starts_with("token.issuers.jwks_url must be"), "{error}");
    }

    #[test]
    fn providers_differ_and_are_of_use() {
        for name in ["", "Example", "a:b", "a b", &"a".repeat(33)] {
            assert!(refused("\"example\"", &format!("{name:?}")).starts_with("token.issuers.name must be"), "{name}");
        }
        assert!(refused("[\"app\"]", "[]").contains("else no token of it is taken"));
        assert!(refused("[\"app\"]", "[\"\"]").starts_with("token.issuers.client_ids must be"));
        Config::parse(&GOOD.replace("client_ids = [\"app\"]", "client_ids = []\naccess_audience = \"api\"")).unwrap();
        let twice = |second: &str| Config::parse(&format!("{GOOD}{second}")).unwrap_err().to_string();
        assert!(twice(&GOOD.replace("/tenant", "/other")).starts_with("token.issuers.name must be another"));
        assert!(twice(&GOOD.replace("\"example\"", "\"other\"")).starts_with("token.issuers.url must be another"));
        let own = GOOD.replace("https://login.example.com/tenant", "https://sync.example.com/production");
        let own = format!("[token]\nissuer = \"https://sync.example.com\"\nenvironment = \"production\"\n{own}");
        assert!(Config::parse(&own).unwrap_err().to_string().starts_with("token.issuers.url must be another"));
    }

    #[test]
    fn tokens_do_not_outlive_their_keys() {
        for (key, value) in [("access_seconds", 3_601), ("access_seconds", 59), ("leeway_seconds", 61)] {
            let error = Config::parse(&format!("[token]\n{key} = {value}")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("token.{key} must be")), "{error}");
        }
        let error = Config::parse("[token]\nenvironment = \"a/b\"").unwrap_err().to_string();
        assert!(error.starts_with("token.environment must be"), "{error}");
    }
}
