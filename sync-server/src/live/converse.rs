//! A WebSocket from its upgrade to its end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sync_core::wire::{CloseCode, Limits, LiveResponse, SCHEMA, Welcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Place;
use super::hello::{HELLO_BYTES_MAX, hello};
use super::line::Line;
use super::session::{End, Session};
use super::socket::{self, Receiver, Sender};
use crate::app::App;
use crate::auth::Access;
use crate::router::observe::Note;

/// How long saying goodbye may take: writing what waits, writing the code, hearing the other side's.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// A connection that was let in.
pub(crate) struct Arrival {
    /// The upgrade.
    pub(crate) note: Arc<Note>,
    /// What its token allows, where the upgrade had one.
    pub(crate) access: Option<Access>,
    pub(crate) place: Place,
    /// One of the few places for those without.
    pub(crate) stranger: Option<OwnedSemaphorePermit>,
}

/// Talks with a client until either has enough.
pub(crate) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(app: App, stream: S, arrival: Arrival) {
    let Arrival { note, access, place, stranger } = arrival;
    let mut line = Line::new("websocket", Arc::clone(&note));
    let (mut receiver, mut sender) = socket::open(stream, HELLO_BYTES_MAX, Arc::clone(&app.live.large)).await;
    let end = match hello(&app, &mut receiver, access).await {
        Ok(access) => {
            drop(stranger);
            line.caller = Some(access.caller.clone());
            // Of who names itself in the first message, the upgrade did not know.
            if let Some(country) = note.country() {
                app.flags.seen_in(country, &access.caller, &note);
            }
            serve(app, note, &access, &mut receiver, &mut sender).await
        }
        Err(end) => end,
    };
    goodbye(end, &mut receiver, &mut sender).await;
    (line.received, line.sent, line.end) = (receiver.traffic(), sender.traffic(), Some(end));
    drop(place);
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    app: App,
    note: Arc<Note>,
    access: &Access,
    receiver: &mut Receiver<S>,
    sender: &mut Sender<S>,
) -> End {
    let Some(seat) = app.live.sit(&access.caller.user) else { return End::Close(CloseCode::Flood) };
    receiver.trust(seat.large());
    let session = Session::new(app, note, access, seat);
    let config = &session.app.live.config;
    let idle = Duration::from_millis(config.idle_timeout_ms);
    session.mailbox.answer(LiveResponse::Hello(session.welcome(config.heartbeat_ms)), 0);
    let mut writing = pin!(session.write(sender));
    let end = tokio::select! {
        biased;
        end = session.listen(receiver) => end,
        end = &mut writing => end,
        end = session.catch_up() => end,
        end = session.mind(Some(idle)) => end,
        end = session.outgrown() => end,
    };
    if matches!(end, End::Close(CloseCode::GoingAway | CloseCode::UpgradeRequired)) {
        let written = async {
            tokio::select! {
                // Polled first, so that what it has written last counts as written when the other looks.
                biased;
                _ = &mut writing => {}
                () = session.mailbox.drained() => {}
            }
        };
        // Who does not take its answers in time asks again elsewhere.
        let _ = timeout(GOODBYE_MAX, written).await;
    }
    end
}

impl Session {
    fn welcome(&self, heartbeat_ms: u64) -> Welcome {
        let (device, limits) = (self.caller.device, Limits::default());
        Welcome { schema: SCHEMA, device, heartbeat_ms, token_expires_in_ms: self.expires_in_ms(), limits }
    }
}

async fn goodbye<S: AsyncRead + AsyncWrite + Unpin>(end: End, receiver: &mut Receiver<S>, sender: &mut Sender<S>) {
    match end {
        End::Close(code) => sender.put_close(code.number(), reason(code)),
        // The answer to it waits already.
        End::Closed(_) => {}
        End::Gone => return,
    }
    let polite = async {
        // A socket that is dropped while something is unread is reset, and the code is lost on its way.
        if sender.flush().await.is_ok() && matches!(end, End::Close(_)) {
            receiver.drain().await;
        }
    };
    // Who does not take it in time has gone.
    let _ = timeout(GOODBYE_MAX, polite).await;
}

/// For people who look at the traffic.
fn reason(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Normal => "",
        CloseCode::GoingAway => "the server stops",
        CloseCode::NotBinary => "frames are binary",
        CloseCode::TooLarge => "frame too large",
        CloseCode::BadFrame => "not a frame, or not in its place",
        CloseCode::Unauthorized => "no valid token",
        CloseCode::Idle => "nothing was heard in time",
        CloseCode::UpgradeRequired => "this version is not served",
        CloseCode::Flood => "too much at once",
        CloseCode::Unavailable => "come again",
        _ => "a fault of the server",
    }
}
