//! Shared spaces.

use serde::{Deserialize, Serialize};
use url::Url;

use super::{ConfigError, within};

/// Where the token stands in a link.
pub(crate) const TOKEN: &str = "{token}";

/// Shared spaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spaces {
    /// Where links of invitations lead, with `{token}` in the fragment.
    pub invite_link: Option<String>,
}

impl Spaces {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let fine = self.invite_link.as_deref().is_none_or(is_link);
        within(
            fine,
            "spaces.invite_link",
            "a URL with {token} once, behind its #, as in https://app.example.com/#{token}",
        )
    }
}

/// What stands before the `#` reaches servers, and their logs.
fn is_link(link: &str) -> bool {
    let Some((page, fragment)) = link.split_once('#') else { return false };
    Url::parse(page).is_ok() && !page.contains(TOKEN) && fragment.matches(TOKEN).count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_keeps_its_token_from_servers() {
        for (link, fine) in [
            ("https://app.example.com/join#{token}", true),
            ("myapp://join#t={token}&v=1", true),
            ("https://app.example.com/join?t={token}", false),
            ("https://app.example.com/{token}#{token}", false),
            ("https://app.example.com/#{token}{token}", false),
            ("https://app.example.com/join#", false),
            ("join#{token}", false),
        ] {
            let spaces = Spaces { invite_link: Some(link.to_owned()) };
            assert_eq!(spaces.validate().is_ok(), fine, "{link}");
        }
    }
}
