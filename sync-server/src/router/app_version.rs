//! Which app calls, as its headers say: `X-App-Platform: ios` and `X-App-Version: 2.4.1`.

use std::fmt;
use std::str::FromStr;

use axum::http::HeaderMap;

/// The header that names the platform.
pub(crate) const PLATFORM: &str = "x-app-platform";
/// And the one that names the version.
pub(crate) const VERSION: &str = "x-app-version";

/// A platform's name, and a version, as long as they may be.
const TEXT_BYTES_MAX: usize = 32;
/// Digits of one number of a version.
const DIGITS_MAX: usize = 6;

/// The app of a request, as far as it says. In the extensions of every request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AppVersion {
    /// `ios`, `android` or another word of a-z, 0-9 and -.
    pub(crate) platform: Option<String>,
    /// Its version.
    pub(crate) version: Option<Version>,
}

/// Three numbers, compared in their order. What may follow them (`-beta.2`, `+45`) is not kept: these texts go to the log,
/// and whoever calls may write anything there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) [u32; 3]);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// One to three numbers, and perhaps a suffix behind `-` or `+`.
impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(());
        }
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let mut version = [0; 3];
        let mut places = version.iter_mut();
        for number in numbers.split('.') {
            let fine = (1..=DIGITS_MAX).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            let place = places.next().filter(|_| fine).ok_or(())?;
            *place = number.parse().map_err(drop)?;
        }
        Ok(Self(version))
    }
}

impl AppVersion {
    /// What the headers say. What is not of the form counts as not said.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let one = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let is_platform = |text: &&str| {
            let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(word)
        };
        let platform = one(PLATFORM).filter(is_platform).map(str::to_owned);
        Self { platform, version: one(VERSION).and_then(|text| text.parse().ok()) }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(platform: &'static str, version: &'static str) -> AppVersion {
        let mut headers = HeaderMap::new();
        headers.insert(PLATFORM, HeaderValue::from_static(platform));
        headers.insert(VERSION, HeaderValue::from_static(version));
        AppVersion::of(&headers)
    }

    #[test]
    fn versions_are_numbers_in_their_order() {
        let version = |text: &str| text.parse::<Version>();
        for (text, numbers) in [
            ("2.4.1", [2, 4, 1]),
            ("2", [2, 0, 0]),
            ("2.4", [2, 4, 0]),
            ("2.4.1-beta.2+45", [2, 4, 1]),
            ("10.0.0+45", [10, 0, 0]),
        ] {
            assert_eq!(version(text), Ok(Version(numbers)), "{text}");
        }
        assert!(version("2.10.0") > version("2.9.9"));
        for wrong in [
            "",
            ".",
            "2.",
            "v2",
            "2.4.1.0",
            "2.x",
            "-1",
            "1234567",
            "2 .4",
            "1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(version(wrong), Err(()), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_of_the_form_counts_as_not_said() {
        let said = of("ios", "2.4.1-secret");
        assert_eq!((said.platform.as_deref(), said.version), (Some("ios"), Some(Version([2, 4, 1]))));
        assert_eq!(said.version.unwrap().to_string(), "2.4.1", "without its suffix");
        for wrong in ["iOS", "", "a b", "eyJhbGciOiJub25lIn0.e30.", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            assert_eq!(of(wrong, "?"), AppVersion::default(), "{wrong}");
        }
        assert_eq!(AppVersion::of(&HeaderMap::new()), AppVersion::default());
    }
}
