//! The session's live connection: closed, being opened, or open.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use sync_core::id::DeviceId;
use sync_core::session::{Ending, Event};
use sync_core::wire::{AccessToken, ErrorCode, LiveRequest};

use crate::client::transport::{Line, Opening, Pending};
use crate::client::{Shared, lock};

/// At most one, as the session has it.
pub(super) enum Connection {
    Closed,
    Opening { link: u64, device: DeviceId, opening: Pending<'static, Opening> },
    Open { link: u64, line: Box<dyn Line> },
}

impl Connection {
    /// Begins to open one; gives what happened, if that is known at once.
    pub(super) fn open(&mut self, shared: &Arc<Shared>, link: u64) -> Option<Event> {
        let Some(transport) = shared.transport.clone() else { return Some(Event::Closed(link, Ending::Lost)) };
        let (device, token) = (lock(&shared.engine).device, lock(&shared.token).clone());
        let opening = Box::pin(async move { transport.open(token).await });
        *self = Self::Opening { link, device, opening };
        None
    }

    /// Sends a frame, without waiting for the network.
    pub(super) fn say(&mut self, link: u64, frame: &LiveRequest) -> Option<Event> {
        match self {
            Self::Open { link: open, line } if *open == link => {
                let ending = line.say(frame).err()?;
                *self = Self::Closed;
                Some(Event::Closed(link, ending))
            }
            _ => None,
        }
    }

    pub(super) fn say_token(&mut self, link: u64, token: Option<String>) -> Option<Event> {
        let token = AccessToken(token?);
        self.say(link, &LiveRequest::Token { token })
    }

    /// The server is not talked to under this name any more.
    pub(super) fn give_up(&mut self) -> Option<Event> {
        let (Self::Open { link, .. } | Self::Opening { link, .. }) = self else { return None };
        let ending = Ending::Refused { code: ErrorCode::WrongDevice, retry_after_ms: None };
        let closed = Event::Closed(*link, ending);
        self.hang_up();
        Some(closed)
    }

    pub(super) fn shut(&mut self, link: u64) {
        match self {
            Self::Open { link: open, .. } | Self::Opening { link: open, .. } if *open == link => {
                self.hang_up();
            }
            _ => {}
        }
    }

    pub(super) fn hang_up(&mut self) {
        if let Self::Open { line, .. } = self {
            line.hang_up();
        }
        *self = Self::Closed;
    }

    /// What happens to it next. May be dropped and asked for again.
    pub(super) async fn next(&mut self) -> Event {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let (link, ending) = match self {
            Self::Closed => return Poll::Pending,
            Self::Opening { link, device, opening } => {
                let link = *link;
                match ready!(opening.as_mut().poll(context)) {
                    // Another device's token would have its feed mistaken for ours.
                    Ok((welcome, _)) if welcome.device != *device => {
                        (link, Ending::Refused { code: ErrorCode::WrongDevice, retry_after_ms: None })
                    }
                    Ok((welcome, line)) => {
                        *self = Self::Open { link, line };
                        return Poll::Ready(Event::Opened(link, welcome));
                    }
                    Err(ending) => (link, ending),
                }
            }
            Self::Open { link, line } => match ready!(line.poll_hear(context)) {
                Ok(frame) => return Poll::Ready(Event::Heard(*link, Box::new(frame))),
                Err(ending) => (*link, ending),
            },
        };
        *self = Self::Closed;
        Poll::Ready(Event::Closed(link, ending))
    }
}
