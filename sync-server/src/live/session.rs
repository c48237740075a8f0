//! One live connection of a known caller: what its parts share, and what becomes of it in the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sync_core::id::SpaceId;
use sync_core::wire::{CloseCode, LiveResponse};

use super::presence::Showing;
use super::users::Seat;
use crate::app::App;
use crate::auth::{Access, Caller};
use crate::error::ApiError;
use crate::fanout::mailbox::Mailbox;
use crate::router::observe::Note;
use crate::telemetry::metrics;

/// A token that lives longer than a server is looked at as if it did not.
const TOKEN_MAX: Duration = Duration::from_hours(24 * 365);

/// A connection that has said hello.
pub(super) struct Session {
    /// The upgrade's, which the connection goes by in the log.
    note: Arc<Note>,
    pub(super) app: App,
    pub(super) caller: Caller,
    pub(super) number: u64,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) seat: Seat,
    started: Instant,
    /// When something was heard last, and until when the token holds: milliseconds from the start.
    heard_ms: AtomicU64,
    expires_ms: AtomicU64,
    /// What its token allows, the newest.
    access: Mutex<Access>,
    showing: Mutex<Showing>,
}

impl Session {
    pub(super) fn new(app: App, note: Arc<Note>, access: &Access, seat: Seat) -> Self {
        let caller = access.caller.clone();
        let number = app.live.number();
        let mailbox = Arc::new(Mailbox::new(&caller.user, caller.device));
        let session = Self {
            note,
            app,
            caller,
            number,
            mailbox,
            seat,
            started: Instant::now(),
            heard_ms: AtomicU64::new(0),
            expires_ms: AtomicU64::new(0),
            access: Mutex::new(access.clone()),
            showing: Mutex::default(),
        };
        session.renew(access);
        session.app.live.fanout.enter(number, &session.mailbox);
        session
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// The other side said something.
    pub(super) fn heard(&self) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// When it did so last.
    pub(super) fn heard_at(&self) -> Instant {
        self.started + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// A token holds from now on.
    pub(super) fn renew(&self, access: &Access) {
        let left = access.left(self.app.clock.now_ms()).min(TOKEN_MAX).as_millis() as u64;
        self.expires_ms.store(self.now_ms() + left, Ordering::Relaxed);
        self.access.lock().unwrap_or_else(PoisonError::into_inner).clone_from(access);
    }

    /// What its token allows.
    pub(super) fn access(&self) -> Access {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Until when the token holds.
    pub(super) fn expires_at(&self) -> Instant {
        self.started + Duration::from_millis(self.expires_ms.load(Ordering::Relaxed))
    }

    /// For how long the token holds.
    pub(super) fn expires_in_ms(&self) -> u64 {
        self.expires_at().saturating_duration_since(Instant::now()).as_millis() as u64
    }

    /// What this connection shows of itself.
    pub(super) fn showing<T>(&self, change: impl FnOnce(&mut Showing) -> T) -> T {
        change(&mut self.showing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells why a request came to nothing, or a space is not followed any more.
    pub(super) fn refuse(&self, id: Option<u64>, space: Option<SpaceId>, error: &ApiError) {
        let request_id = self.app.request_ids.next();
        metrics::refused(error.code_name());
        if error.is_of_reach() {
            self.app.flags.refused(&self.caller, &self.note);
        }
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
                    connection = self.note.id(),
                    user = self.caller.user,
                    device = %self.caller.device,
                    code = error.code_name(),
                    cause = error.cause(),
                    "live request refused"
                )
            };
        }
        // What callers do wrong, they may do a thousand times a second.
        if error.is_of_the_server() {
            log!(info);
        } else {
            log!(debug);
        }
        let error = error.frame(&request_id, self.app.retry_after());
        let bytes = error.message.len();
        self.mailbox.answer(LiveResponse::Refused { id, space, error }, bytes);
    }

    /// Waits until the app on the other side is too old. One that did not say what it is never is.
    pub(super) async fn outgrown(&self) -> End {
        let too_old = match self.note.app() {
            Some(version) => self.app.manifest.outgrows(version).await,
            None => std::future::pending().await,
        };
        // A close frame has no room for where the app is updated.
        self.refuse(None, None, &ApiError::upgrade_required(&too_old));
        End::Close(CloseCode::UpgradeRequired)
    }

    /// The other side asks for as much work as a request does.
    pub(super) fn called(&self) {
        self.app.flags.called(&self.caller, &self.note);
    }

    /// Follows a space no longer.
    pub(super) fn unfollow(&self, space: SpaceId) {
        self.vanish(space);
        self.app.live.fanout.leave(space, self.number);
        self.mailbox.unfollow(space);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.app.live.fanout.exit(self.number, &self.mailbox);
        for space in self.mailbox.spaces() {
            self.unfollow(space);
        }
    }
}

/// How a part of a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server closes.
    Close(CloseCode),
    /// The other side closes, with that code.
    Closed(Option<u16>),
    /// It is gone.
    Gone,
}
