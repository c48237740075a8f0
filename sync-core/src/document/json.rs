//! JSON text, written as it is read: a tree of values in between costs more than the reading.

use automerge::ScalarValueRef;
use base64::Engine;
use serde::Serialize;

/// Writes a value that serde knows.
pub(super) fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let before = out.len();
    // Into memory, and of what has no keys but strings, it cannot fail.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
        out.extend_from_slice(b"null");
    }
}

/// Writes a scalar as [`Value::to_json`](crate::value::Value::to_json) shows it.
pub(super) fn scalar(out: &mut Vec<u8>, value: &ScalarValueRef<'_>) {
    match value {
        ScalarValueRef::Bytes(bytes) => write(out, &base64::engine::general_purpose::STANDARD.encode(bytes)),
        ScalarValueRef::Str(text) => write(out, text.as_ref()),
        ScalarValueRef::Int(value) | ScalarValueRef::Counter(value) | ScalarValueRef::Timestamp(value) => {
            write(out, value);
        }
        ScalarValueRef::Uint(value) => write(out, value),
        ScalarValueRef::F64(value) => write(out, value),
        ScalarValueRef::Boolean(value) => write(out, value),
        ScalarValueRef::Null | ScalarValueRef::Unknown { .. } => out.extend_from_slice(b"null"),
    }
}
