//! A stream of server-sent events from its beginning to its end: a connection that only listens.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use sync_core::id::{DeviceId, Hash, SpaceId};
use sync_core::log::Cursor;
use sync_core::wire::{CloseCode, LiveResponse};
use tokio::sync::mpsc;

use super::Place;
use super::line::{Line, Traffic};
use super::session::{End, Session};
use super::writer::{heard_at, respond, weight};
use crate::app::App;
use crate::auth::Access;
use crate::error::ApiError;
use crate::exchange::{self, INLINE_BYTES_MAX, aside};
use crate::fanout::mailbox::Outgoing;
use crate::router::observe::Note;
use crate::telemetry::metrics;

/// A place in a log, as an event's id: `<seq>.<chain in hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventId(pub(crate) Cursor);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.seq, self.0.chain)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (seq, chain) = text.split_once('.').ok_or(())?;
        let seq = seq.parse().map_err(drop)?;
        Ok(Self(Cursor { seq, chain: chain.parse::<Hash>().map_err(drop)? }))
    }
}

/// Somebody who wants to be told.
pub(crate) struct Audience {
    pub(crate) note: Arc<Note>,
    pub(crate) access: Access,
    pub(crate) place: Place,
    /// Which spaces, and from where on.
    pub(crate) spaces: Vec<(SpaceId, Option<Cursor>)>,
}

/// Lets the caller in, follows the spaces, and sends events until either has enough.
pub(crate) async fn stream(app: App, audience: Audience, events: mpsc::Sender<Bytes>) -> Result<(), ApiError> {
    let Audience { note, access, place, spaces } = audience;
    for &(space, _) in &spaces {
        exchange::enter(&app, &access.caller, space).await?;
    }
    let seat = app.live.sit(&access.caller.user).ok_or_else(ApiError::busy)?;
    let mut line = Line::new("events", Arc::clone(&note));
    line.caller = Some(access.caller.clone());
    let session = Session::new(app, note, &access, seat);
    tokio::spawn(async move {
        session.tell(spaces, &events, &mut line).await;
        // Both to the end of the task, whatever becomes of it.
        drop((line, place));
    });
    Ok(())
}

impl Session {
    async fn tell(&self, spaces: Vec<(SpaceId, Option<Cursor>)>, events: &mpsc::Sender<Bytes>, line: &mut Line) {
        let is_resumable = spaces.len() == 1;
        for (space, since) in spaces {
            self.mailbox.follow_from(space, since.unwrap_or_else(|| Cursor::start(space)));
            self.app.live.fanout.join(space, self.number, &self.mailbox);
        }
        let end = tokio::select! {
            biased;
            () = events.closed() => End::Gone,
            code = self.mailbox.closing() => End::Close(code),
            end = self.send(events, is_resumable, &mut line.sent) => end,
            end = self.catch_up() => end,
            end = self.mind(None) => end,
            end = self.outgrown() => end,
        };
        line.end = Some(end);
    }

    async fn send(&self, events: &mpsc::Sender<Bytes>, is_resumable: bool, sent: &mut Traffic) -> End {
        let device = self.caller.device;
        loop {
            let outgoing = self.mailbox.take().await;
            let heard_at = heard_at(&outgoing);
            let long = weight(&outgoing) > INLINE_BYTES_MAX;
            let event = aside(long, move || event(outgoing, device, is_resumable)).await;
            let Ok(Some(event)) = event else { return End::Close(CloseCode::Internal) };
            sent.count(event.len());
            if events.send(event).await.is_err() {
                return End::Gone;
            }
            if let Some(heard_at) = heard_at {
                metrics::delivered(heard_at.elapsed());
            }
        }
    }
}

/// The event that says what the frame would, with the frame's kind as its name; `None` if it cannot be written.
fn event(outgoing: Outgoing, device: DeviceId, is_resumable: bool) -> Option<Bytes> {
    let response = respond(outgoing, device);
    let id = match &response {
        LiveResponse::Page { page, .. } if is_resumable => format!("id: {}\n", EventId(page.next)),
        _ => String::new(),
    };
    let Ok(Value::Object(frame)) = serde_json::to_value(&response) else { return None };
    let (kind, data) = frame.into_iter().next()?;
    Some(Bytes::from(format!("event: {kind}\n{id}data: {data}\n\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_places_and_nothing_else() {
        let place = Cursor { seq: 12, chain: Hash::of(&[b"chain"]) };
        let id = EventId(place).to_string();
        assert_eq!(id.parse(), Ok(EventId(place)));
        for wrong in ["", ".", "12", "12.", "x.00", "-1.00", &id[..id.len() - 1], &format!("{id}0"), &format!(" {id}")]
        {
            assert_eq!(wrong.parse::<EventId>(), Err(()), "{wrong}");
        }
    }
}
