//! Values of documents, in types that every language has.

use std::collections::HashMap;

use serde_bytes::ByteBuf;
use sync_core::value::Value;

use super::error::RejoinError;

/// A value in a document.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
#[uniffi(name = "Value")]
pub enum FfiValue {
    /// Nothing.
    Null,
    /// True or false.
    Bool {
        /// Which.
        value: bool,
    },
    /// A signed integer.
    Int {
        /// The number.
        value: i64,
    },
    /// An unsigned integer, where other writers use them.
    Uint {
        /// The number.
        value: u64,
    },
    /// A 64-bit float.
    Float {
        /// The number.
        value: f64,
    },
    /// A string that is replaced as a whole. For text that people type, use `Text`.
    Str {
        /// The string.
        value: String,
    },
    /// Bytes that are replaced as a whole.
    Bytes {
        /// The bytes.
        value: Vec<u8>,
    },
    /// A number to which concurrent increments add up.
    Counter {
        /// The number.
        value: i64,
    },
    /// A time, in milliseconds since 1970.
    Timestamp {
        /// Milliseconds since 1970.
        value: i64,
    },
    /// A text, in which concurrent insertions are merged character by character.
    Text {
        /// The characters.
        value: String,
    },
    /// Keys and values: a map.
    Fields {
        /// The values by key.
        value: HashMap<String, FfiValue>,
    },
    /// A sequence of values: a list.
    Items {
        /// The values, in order.
        value: Vec<FfiValue>,
    },
}

impl From<FfiValue> for Value {
    fn from(value: FfiValue) -> Self {
        match value {
            FfiValue::Null => Self::Null,
            FfiValue::Bool { value } => Self::Bool(value),
            FfiValue::Int { value } => Self::Int(value),
            FfiValue::Uint { value } => Self::Uint(value),
            FfiValue::Float { value } => Self::Float(value),
            FfiValue::Str { value } => Self::Str(value),
            FfiValue::Bytes { value } => Self::Bytes(ByteBuf::from(value)),
            FfiValue::Counter { value } => Self::Counter(value),
            FfiValue::Timestamp { value } => Self::Timestamp(value),
            FfiValue::Text { value } => Self::Text(value),
            FfiValue::Fields { value } => {
                Self::Map(value.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
            FfiValue::Items { value } => Self::List(value.into_iter().map(Into::into).collect()),
        }
    }
}

impl From<Value> for FfiValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool { value },
            Value::Int(value) => Self::Int { value },
            Value::Uint(value) => Self::Uint { value },
            Value::Float(value) => Self::Float { value },
            Value::Str(value) => Self::Str { value },
            Value::Bytes(value) => Self::Bytes { value: value.into_vec() },
            Value::Counter(value) => Self::Counter { value },
            Value::Timestamp(value) => Self::Timestamp { value },
            Value::Text(value) => Self::Text { value },
            Value::Map(map) => {
                Self::Fields { value: map.into_iter().map(|(key, value)| (key, value.into())).collect() }
            }
            Value::List(items) => Self::Items { value: items.into_iter().map(Into::into).collect() },
        }
    }
}

/// A value from JSON. Whole numbers become integers; strings become texts if `text`.
pub(super) fn of_json(json: &str, text: bool) -> Result<Value, RejoinError> {
    // serde_json refuses nesting deeper than 128 by itself.
    let json = serde_json::from_str(json).map_err(|error| RejoinError::invalid(format!("not JSON: {error}")))?;
    Ok(of_parsed(json, text))
}

fn of_parsed(json: serde_json::Value, text: bool) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value),
            (_, Some(value)) => Value::Uint(value),
            _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(value) if text => Value::Text(value),
        Json::String(value) => Value::Str(value),
        Json::Array(items) => Value::List(items.into_iter().map(|item| of_parsed(item, text)).collect()),
        Json::Object(fields) => {
            Value::Map(fields.into_iter().map(|(key, value)| (key, of_parsed(value, text))).collect())
        }
    }
}
