//! Versions of apps: how they are written and compared, and which of them are too old. What is kept of that is
//! [`store::versions`](crate::store::versions); a node looks it up every few seconds.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

mod manifest;

pub(crate) use manifest::{Manifest, TooOld};

/// No store of apps allows longer ones.
pub const VERSION_BYTES_MAX: usize = 32;
/// `major.minor.patch`, and the fourth part that Windows has.
const PARTS_MAX: usize = 4;
/// Dates as `20261231` fit.
const DIGITS_MAX: usize = 9;
/// What a platform is called.
pub const PLATFORM_BYTES_MAX: usize = 32;

/// A version such as `2.4.1`: one to four numbers, then perhaps `-` and a pre-release, then perhaps `+` and a build, as semantic
/// versioning has them. Parts that are missing are 0, since stores of apps allow `2.4`; a build makes no difference.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    parts: [u32; PARTS_MAX],
    pre: Vec<Identifier>,
}

/// Between the dots of a pre-release. Numbers come before words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u128),
    Word(String),
}

/// Not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a version such as 2.4.1 or 2.5.0-beta.1, of at most 32 characters")]
pub struct NotAVersion;

impl Version {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its numbers alone, for logs: whoever calls may write any words behind them.
    pub(crate) fn release(&self) -> impl fmt::Display {
        let [major, minor, patch, build] = self.parts;
        if build == 0 { format!("{major}.{minor}.{patch}") } else { format!("{major}.{minor}.{patch}.{build}") }
    }

    fn order(&self) -> (&[u32; PARTS_MAX], bool, &[Identifier]) {
        // What leads to a version comes before it.
        (&self.parts, self.pre.is_empty(), &self.pre)
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        if text.len() > VERSION_BYTES_MAX {
            return Err(NotAVersion);
        }
        let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
        let (numbers, pre) = rest.split_once('-').map_or((rest, None), |(numbers, pre)| (numbers, Some(pre)));
        if build.is_some_and(|build| !build.split('.').all(is_word)) {
            return Err(NotAVersion);
        }
        let mut parts = [0; PARTS_MAX];
        for (at, number) in numbers.split('.').enumerate() {
            let number = number.parse().ok().filter(|_| is_number(number) && number.len() <= DIGITS_MAX);
            *parts.get_mut(at).ok_or(NotAVersion)? = number.ok_or(NotAVersion)?;
        }
        let pre = pre.map_or_else(|| Ok(Vec::new()), |pre| pre.split('.').map(identifier).collect())?;
        Ok(Self { text: text.to_owned(), parts, pre })
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn identifier(text: &str) -> Result<Identifier, NotAVersion> {
    // A version is too short for more digits than this number has.
    match text.parse() {
        Ok(number) if is_number(text) => Ok(Identifier::Number(number)),
        _ if is_word(text) => Ok(Identifier::Word(text.to_owned())),
        _ => Err(NotAVersion),
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// Whether that is a platform's name: a word of a-z, 0-9 and -.
pub fn is_platform(text: &str) -> bool {
    let of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=PLATFORM_BYTES_MAX).contains(&text.len()) && text.bytes().all(of_a_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn in_the_order_of_semantic_versioning() {
        let ascending = [
            "0",
            "0.0.1-alpha",
            "0.0.1",
            "0.9",
            "0.10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.0.1",
            "1.0.1",
            "1.2",
            "1.10",
            "2",
            "999999999",
        ];
        for (at, low) in ascending.iter().enumerate() {
            for (other, high) in ascending.iter().enumerate() {
                assert_eq!(version(low).cmp(&version(high)), at.cmp(&other), "{low} {high}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_0_and_builds_make_no_difference() {
        for (one, other) in
            [("2", "2.0.0.0"), ("2.4", "2.4.0"), ("2.4.0+77", "2.4.0+exp.sha-5114f85"), ("02.4", "2.04")]
        {
            assert_eq!(version(one), version(other));
            assert_eq!(version(one).as_str(), one, "as it was written");
        }
    }

    #[test]
    fn what_is_no_version() {
        let long = format!("1-{}", "a".repeat(VERSION_BYTES_MAX - 1));
        assert_eq!(version(&long[..VERSION_BYTES_MAX]).as_str().len(), VERSION_BYTES_MAX);
        for text in [
            "",
            ".",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4.5",
            "v1",
            "1.x",
            "-1",
            "1-",
            "1-a..b",
            "1-ä",
            "1+",
            "1+a..b",
            "+1",
            " 1",
            "1 ",
            "1234567890",
            "1.0.0-1.",
            "1.0.0-a b",
            "1\n",
            &long,
        ] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion), "{text:?}");
        }
        assert!(version("1.0.0-20261231235959000000") > version("1.0.0-9"), "numbers of any length");
    }

    #[test]
    fn names_of_platforms() {
        assert!(["ios", "android", "linux-arm64", "x"].into_iter().all(is_platform));
        assert!(!["", "iOS", "a b", "ä", "a_b", &"x".repeat(PLATFORM_BYTES_MAX + 1)].into_iter().any(is_platform));
    }
}
