//! Silent pushes: the server's hint, through the system's push service, that there is something to fetch.

use serde::Deserialize;
use sync_core::id::SpaceId;
use sync_core::limits::SESSION_SPACES_MAX;

use super::Client;

/// What a push service carries is smaller: APNs and FCM take 4 KiB.
const PAYLOAD_BYTES_MAX: usize = 16 << 10;

/// A payload that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It is longer than any push service carries.
    #[error("a push of {bytes} bytes: at most {PAYLOAD_BYTES_MAX} are looked at")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It is not an object in JSON, or what it calls `spaces` is not a list of ids.
    #[error("not a push of this server: expected a JSON object, with an optional list of space ids in \"spaces\"")]
    NotUnderstood,
}

/// Whatever else the service puts in beside it (`aps`, …) is passed over.
#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    spaces: Option<Vec<SpaceId>>,
}

fn parse(payload: &str) -> Result<Option<Vec<SpaceId>>, PushError> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(PushError::TooLong { bytes: payload.len() });
    }
    let value: serde_json::Value = serde_json::from_str(payload).map_err(|_| PushError::NotUnderstood)?;
    if !value.is_object() {
        return Err(PushError::NotUnderstood);
    }
    let Payload { spaces } = serde_json::from_value(value).map_err(|_| PushError::NotUnderstood)?;
    match spaces {
        Some(spaces) if spaces.len() > SESSION_SPACES_MAX => Err(PushError::NotUnderstood),
        spaces => Ok(spaces),
    }
}

impl Client {
    /// Takes the payload of a silent push: a JSON object, with an optional list of spaces in `spaces`. Those, or all, are asked
    /// for first by the exchange that comes next: at once by a session that runs in the foreground, else by
    /// [`sync_once`](Self::sync_once), which is to be called then. Gives which of them this device uses: where there are
    /// none, there is nothing to fetch.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn f(client: &sync_client_ffi::Client, payload: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// if !client.on_push(payload)?.is_empty() {
    ///     client.sync_once_within(Duration::from_secs(25), 256 << 10)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_push(&self, payload: &str) -> Result<Vec<SpaceId>, PushError> {
        let named = parse(payload)?;
        let here: Vec<SpaceId> = self.engine().spaces.keys().copied().collect();
        let due: Vec<SpaceId> = match named {
            None => here,
            Some(named) => here.into_iter().filter(|space| named.contains(space)).collect(),
        };
        self.shared.inbox.pushed(&due);
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_names_spaces_or_none_and_garbage_is_refused() {
        let space = SpaceId::from_random([3; 16]);
        assert_eq!(parse("{}"), Ok(None));
        assert_eq!(parse(r#"{"aps":{"content-available":1},"spaces":null}"#), Ok(None));
        assert_eq!(parse(&format!(r#"{{"aps":{{}},"spaces":["{space}"]}}"#)), Ok(Some(vec![space])));
        assert_eq!(parse(r#"{"spaces":[]}"#), Ok(Some(Vec::new())));
        for garbage in
            ["", "null", "[]", "7", "{", "\u{0}", r#"{"spaces":"all"}"#, r#"{"spaces":[1]}"#, r#"{"spaces":["x"]}"#]
        {
            assert_eq!(parse(garbage), Err(PushError::NotUnderstood), "{garbage}");
        }
        let many = vec![format!("\"{space}\""); SESSION_SPACES_MAX + 1].join(",");
        assert_eq!(parse(&format!(r#"{{"spaces":[{many}]}}"#)), Err(PushError::NotUnderstood));
        assert!(matches!(parse(&"[".repeat(PAYLOAD_BYTES_MAX + 1)), Err(PushError::TooLong { .. })));
        let deep = "[".repeat(PAYLOAD_BYTES_MAX / 2);
        assert_eq!(parse(&format!(r#"{{"x":{deep}"#)), Err(PushError::NotUnderstood));
    }
}
