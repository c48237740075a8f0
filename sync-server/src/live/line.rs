//! The one line that the log has of a live connection.

use std::sync::Arc;
use std::time::Instant;

use super::session::End;
use crate::auth::Caller;
use crate::router::observe::Note;
use crate::telemetry::metrics;

/// Written when it is dropped, so also after a panic.
pub(super) struct Line {
    note: Arc<Note>,
    pub(super) caller: Option<Caller>,
    pub(super) received: Traffic,
    pub(super) sent: Traffic,
    /// How it ended; a panic leaves none.
    pub(super) end: Option<End>,
    kind: &'static str,
    started: Instant,
}

/// What went in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Traffic {
    pub(super) fn count(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

impl Line {
    pub(super) fn new(kind: &'static str, note: Arc<Note>) -> Self {
        let (received, sent) = (Traffic::default(), Traffic::default());
        Self { note, caller: None, received, sent, end: None, kind, started: Instant::now() }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let (ended_by, code) = match self.end {
            Some(End::Close(code)) => ("server", Some(code.number())),
            Some(End::Closed(code)) => ("client", code),
            Some(End::Gone) => ("network", None),
            None => ("fault", None),
        };
        metrics::connection_ended(self.kind, ended_by);
        tracing::info!(
            request_id = self.note.id(),
            user = self.caller.as_ref().map(|caller| caller.user.as_str()),
            device = self.caller.as_ref().map(|caller| tracing::field::display(caller.device)),
            address = self.note.address().map(tracing::field::display),
            platform = self.note.app().map(|app| app.platform.as_str()),
            app_version = self.note.app().map(|app| tracing::field::display(app.version.release())),
            kind = self.kind,
            duration_ms = self.started.elapsed().as_millis() as u64,
            messages_in = self.received.messages,
            messages_out = self.sent.messages,
            bytes_in = self.received.bytes,
            bytes_out = self.sent.bytes,
            ended_by,
            code,
            "connection"
        );
    }
}
