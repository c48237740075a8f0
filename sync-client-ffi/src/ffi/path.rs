//! Paths into documents, as JSON Pointers (RFC 6901): one string is cheaper to pass than a list of steps, and can be read.
//!
//! A map may have the key `3`, and a list an element 3. A step of digits alone is an index; the key is written `~23`, with an
//! escape that RFC 6901 leaves free.

use sync_core::value::{Path, Step};

use super::error::RejoinError;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum PathStep {
    /// Into a map, by key.
    Key {
        /// The key.
        key: String,
    },
    /// Into a list, by index.
    Index {
        /// Counted from 0.
        index: u64,
    },
}

/// The path of these steps: `/items/3/title`. Each language's own `path(…)` is made of it.
#[uniffi::export]
pub fn path_of(steps: Vec<PathStep>) -> String {
    let mut path = String::new();
    for step in steps {
        path.push('/');
        match step {
            PathStep::Index { index } => path.push_str(&index.to_string()),
            PathStep::Key { key } => escape(&key, &mut path),
        }
    }
    path
}

/// The steps of a path.
#[uniffi::export]
pub fn path_steps(path: &str) -> Result<Vec<PathStep>, RejoinError> {
    let step = |step| match step {
        Step::Key(key) => PathStep::Key { key },
        Step::Index(index) => PathStep::Index { index },
    };
    Ok(parse(path)?.0.into_iter().map(step).collect())
}

/// A path as the document has it, in the form in which it is passed.
pub(super) fn show(path: &Path) -> String {
    let mut shown = String::new();
    for step in &path.0 {
        shown.push('/');
        match step {
            Step::Index(index) => shown.push_str(&index.to_string()),
            Step::Key(key) => escape(key, &mut shown),
        }
    }
    shown
}

fn escape(key: &str, into: &mut String) {
    if is_index(key) {
        into.push_str("~2");
    }
    for character in key.chars() {
        match character {
            '~' => into.push_str("~0"),
            '/' => into.push_str("~1"),
            other => into.push(other),
        }
    }
}

fn is_index(step: &str) -> bool {
    !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a path. Empty: the root.
pub(super) fn parse(path: &str) -> Result<Path, RejoinError> {
    let bad = || RejoinError::bad_path(path);
    if path.is_empty() {
        return Ok(Path::root());
    }
    let steps = path.strip_prefix('/').ok_or_else(bad)?.split('/');
    steps.map(|step| read(step).ok_or_else(bad)).collect::<Result<_, _>>().map(Path)
}

fn read(step: &str) -> Option<Step> {
    if is_index(step) {
        return step.parse().ok().map(Step::Index);
    }
    if !step.contains('~') {
        return Some(Step::Key(step.to_owned()));
    }
    let mut key = String::with_capacity(step.len());
    let mut characters = match step.strip_prefix("~2") {
        Some(digits) if is_index(digits) => return Some(Step::Key(digits.to_owned())),
        _ => step.chars(),
    };
    while let Some(character) = characters.next() {
        key.push(match character {
            '~' => match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(Step::Key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_back_as_they_were() {
        let key = |key: &str| PathStep::Key { key: key.to_owned() };
        let index = |index| PathStep::Index { index };
        let table = [
            (vec![], ""),
            (vec![key("items"), index(3), key("title")], "/items/3/title"),
            (vec![key("3")], "/~23"),
            (vec![key("~23")], "/~023"),
            (vec![key("a/b~c")], "/a~1b~0c"),
            (vec![key("")], "/"),
            (vec![key("Grüße"), index(u64::MAX)], "/Grüße/18446744073709551615"),
        ];
        for (steps, path) in table {
            assert_eq!(path_of(steps.clone()), path);
            assert_eq!(path_steps(path).unwrap(), steps, "{path}");
            assert_eq!(show(&parse(path).unwrap()), path);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["title", "/~", "/~9", "/~2x", "/18446744073709551616"] {
            assert!(matches!(path_steps(path), Err(RejoinError::BadPath { .. })), "{path}");
        }
    }
}
