//! Values in documents, and paths to them, as apps see them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A value in a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A 64-bit float.
    Float(f64),
    /// A string that is replaced as a whole. For text that people type, use [`Value::Text`].
    Str(String),
    /// Bytes that are replaced as a whole.
    Bytes(ByteBuf),
    /// A number to which concurrent increments add up.
    Counter(i64),
    /// Milliseconds since 1970, as the app understands them; nothing in Rejoin trusts them.
    Timestamp(i64),
    /// Keys and values.
    Map(BTreeMap<String, Value>),
    /// A sequence of values.
    List(Vec<Value>),
    /// A text, in which concurrent insertions are merged character by character.
    Text(String),
}

impl Value {
    /// How deep objects are nested in it: 0 for a scalar, 1 for an empty map.
    pub fn depth(&self) -> usize {
        // Depth first with a stack of our own: the value may come from an app that read it from somewhere.
        let mut deepest = 0;
        let mut stack = vec![(self, 0)];
        while let Some((value, above)) = stack.pop() {
            match value {
                Self::Map(map) => stack.extend(map.values().map(|child| (child, above + 1))),
                Self::List(list) => stack.extend(list.iter().map(|child| (child, above + 1))),
                Self::Text(_) => {}
                _ => {
                    deepest = deepest.max(above);
                    continue;
                }
            }
            deepest = deepest.max(above + 1);
        }
        deepest
    }

    /// As JSON: bytes become base64 text, counters and timestamps numbers, what is not a number in JSON `null`.
    pub fn to_json(&self) -> serde_json::Value {
        use base64::Engine;
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::from(*value),
            Self::Int(value) | Self::Counter(value) | Self::Timestamp(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Float(value) => Json::from(*value),
            Self::Str(text) | Self::Text(text) => Json::from(text.as_str()),
            Self::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
            Self::Map(map) => map.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
            Self::List(list) => list.iter().map(Self::to_json).collect(),
        }
    }

    /// The text of a [`Value::Text`] or [`Value::Str`].
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a [`Value::Int`], [`Value::Counter`] or [`Value::Timestamp`], or of a [`Value::Uint`] that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) | Self::Counter(value) | Self::Timestamp(value) => Some(*value),
            Self::Uint(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }
}

macro_rules! value_from {
    ($($type:ty => |$value:ident| $made:expr,)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        })*
    };
}

value_from! {
    bool => |value| Self::Bool(value),
    i64 => |value| Self::Int(value),
    i32 => |value| Self::Int(value.into()),
    u64 => |value| Self::Uint(value),
    f64 => |value| Self::Float(value),
    &str => |value| Self::Str(value.to_owned()),
    String => |value| Self::Str(value),
    Vec<Value> => |value| Self::List(value),
    BTreeMap<String, Value> => |value| Self::Map(value),
}

/// One step of a path: into a map by key, or into a list or text by index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// A place in a list or text; texts are counted in Unicode characters.
    Index(u64),
    /// A key of a map.
    Key(String),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<String> for Step {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

impl From<u64> for Step {
    fn from(index: u64) -> Self {
        Self::Index(index)
    }
}

/// So that a literal can be written; a negative index is beyond every end.
impl From<i32> for Step {
    fn from(index: i32) -> Self {
        Self::Index(u64::try_from(index).unwrap_or(u64::MAX))
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index as u64)
    }
}

/// A way into a document, from its root map. Empty: the root itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// One step further.
    #[must_use]
    pub fn join(&self, step: impl Into<Step>) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.into());
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Key(key) => write!(f, "/{key}")?,
                Step::Index(index) => write!(f, "/{index}")?,
            }
        }
        if self.0.is_empty() { f.write_str("/") } else { Ok(()) }
    }
}

impl<T: Into<Step>> From<T> for Path {
    fn from(step: T) -> Self {
        Self(vec![step.into()])
    }
}

impl<T: Into<Step>, const N: usize> From<[T; N]> for Path {
    fn from(steps: [T; N]) -> Self {
        Self(steps.into_iter().map(Into::into).collect())
    }
}

impl From<&Path> for Path {
    fn from(path: &Path) -> Self {
        path.clone()
    }
}

/// A path of mixed steps: `path!["todos", 3, "done"]`.
#[macro_export]
macro_rules! path {
    ($($step:expr),* $(,)?) => {
        $crate::value::Path(vec![$($crate::value::Step::from($step)),*])
    };
}
