//! What goes out on a live connection: what waits in its mailbox, and the pages of logs that it has fallen behind.

use std::time::Instant;

use bytes::Bytes;
use sync_core::id::DeviceId;
use sync_core::wire::{self, CloseCode, LiveResponse, Pull, PullAnswer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::PAGE_MAX;
use super::session::{End, Session};
use super::socket::Sender;
use crate::error::ApiError;
use crate::exchange::{self, INLINE_BYTES_MAX, aside};
use crate::fanout::Wish;
use crate::fanout::mailbox::{Answer, Outgoing};
use crate::fanout::parcel;
use crate::telemetry::metrics;

/// What is written in one go, if it waits already.
const BATCH_BYTES: usize = 16 << 10;

impl Session {
    /// Writes whatever is to be sent, until that fails.
    pub(super) async fn write<S: AsyncRead + AsyncWrite + Unpin>(&self, sender: &mut Sender<S>) -> End {
        loop {
            let first = self.mailbox.take().await;
            if let Err(end) = self.write_batch(first, sender).await {
                return end;
            }
        }
    }

    async fn write_batch<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        first: Outgoing,
        sender: &mut Sender<S>,
    ) -> Result<(), End> {
        let (mut bytes, mut beats, mut heard) = (0, false, None);
        let mut next = Some(first);
        while let Some(outgoing) = next {
            beats |= matches!(outgoing, Outgoing::Beat(_));
            // The first of a batch has waited longest.
            heard = heard.or_else(|| heard_at(&outgoing));
            bytes += self.put(outgoing, sender).await?;
            next = if bytes < BATCH_BYTES { self.mailbox.take_more() } else { None };
        }
        sender.flush().await.map_err(|_| End::Gone)?;
        if let Some(heard) = heard {
            metrics::delivered(heard.elapsed());
        }
        if beats {
            sender.shed();
        }
        Ok(())
    }

    async fn put<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        outgoing: Outgoing,
        sender: &mut Sender<S>,
    ) -> Result<usize, End> {
        let device = self.caller.device;
        let frame = match outgoing {
            outgoing if weight(&outgoing) > INLINE_BYTES_MAX => {
                aside(true, move || encode(outgoing, device)).await.map_err(|_| End::Close(CloseCode::Internal))?
            }
            outgoing => encode(outgoing, device),
        };
        Ok(sender.put(frame.ok_or(End::Close(CloseCode::Internal))?))
    }

    /// Reads logs that the connection has fallen behind, page by page, as fast as pages are taken.
    pub(super) async fn catch_up(&self) -> End {
        loop {
            let behind = self.mailbox.behind().await;
            let Wish { own, version, snapshots } = behind.wish;
            let pull = Pull { since: Some(behind.since), bytes_max: None, own, version, snapshots };
            let read = exchange::page(&self.app, self.caller.device, behind.space, &pull, PAGE_MAX).await;
            let lost = match read {
                Ok(PullAnswer::Page(page)) => {
                    let bytes = exchange::weigh(&page);
                    self.mailbox.read(behind, page, bytes);
                    continue;
                }
                // Who begins anew is told the same, and what to do about it.
                Ok(PullAnswer::Diverged { .. }) => ApiError::unavailable("the log lost what was sent of it"),
                Err(error) if error.is_passing() => {
                    self.mailbox.unread(behind);
                    sleep(self.app.retry_after()).await;
                    continue;
                }
                Err(error) => error,
            };
            self.mailbox.unread(behind);
            self.unfollow(behind.space);
            self.refuse(None, Some(behind.space), &lost);
        }
    }
}

/// When this node heard of the commit that it tells of.
pub(super) fn heard_at(outgoing: &Outgoing) -> Option<Instant> {
    match outgoing {
        Outgoing::Page(parcel) => Some(parcel.heard_at()),
        _ => None,
    }
}

/// About how many bytes are to be encoded.
pub(super) fn weight(outgoing: &Outgoing) -> usize {
    match outgoing {
        Outgoing::Page(parcel) => parcel.bytes(),
        Outgoing::LogPage(_, page) => exchange::weigh(page),
        Outgoing::Answer(Answer::Whole(response)) => match &**response {
            LiveResponse::Answer { pull: Some(pull), .. } => exchange::weigh_answer(pull),
            _ => 0,
        },
        Outgoing::Answer(Answer::Pushed { log, .. }) => log.iter().map(|parcel| parcel.bytes()).sum(),
        Outgoing::Beat(_) | Outgoing::Presence(..) => 0,
    }
}

/// The frame; `None` if it cannot be written.
fn encode(outgoing: Outgoing, device: DeviceId) -> Option<Bytes> {
    if let Outgoing::Page(parcel) = &outgoing {
        return parcel.frame(device);
    }
    wire::encode(&respond(outgoing, device)).ok().map(Bytes::from)
}

/// What it says.
pub(super) fn respond(outgoing: Outgoing, device: DeviceId) -> LiveResponse {
    match outgoing {
        Outgoing::Page(parcel) => LiveResponse::Page { space: parcel.space(), page: parcel.page(device) },
        Outgoing::Beat(heads) => LiveResponse::Beat { heads },
        Outgoing::Answer(Answer::Whole(response)) => *response,
        Outgoing::Answer(Answer::Pushed { id, space, push, log }) => {
            let pull = parcel::merged(&log, device).map(PullAnswer::Page);
            LiveResponse::Answer { id, space, push: Some(*push), pull, snapshot: None }
        }
        Outgoing::LogPage(space, page) => LiveResponse::Page { space, page: *page },
        Outgoing::Presence(space, shown) => {
            let now = Instant::now();
            LiveResponse::Presence { space, peers: shown.iter().map(|shown| shown.peer(now)).collect() }
        }
    }
}
