//! What a client says on a live connection, and what comes of it: one message after the other.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sync_core::feed::Run;
use sync_core::id::SpaceId;
use sync_core::limits::{LIVE_PAGE_BYTES_MAX, LIVE_PUSH_BYTES_MAX, SESSION_SPACES_MAX};
use sync_core::wire::{
    self, CloseCode, LiveRequest, LiveResponse, Pull, PullAnswer, PushAnswer, SnapshotPart, SnapshotWish,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep_until, timeout};

use super::PAGE_MAX;
use super::hello::refusal;
use super::session::{End, Session};
use super::socket::{Incoming, Receiver};
use crate::auth::Access;
use crate::error::ApiError;
use crate::exchange::{self, INLINE_BYTES_MAX, aside};
use crate::fanout::Wish;
use crate::fanout::mailbox::First;

/// What the answer to a push takes, and each result in it, about.
const ANSWER_BYTES: usize = 128;
const RESULT_BYTES: usize = 48;

/// A request to exchange something with one space.
struct Sync {
    id: u64,
    space: SpaceId,
    push: Option<Run>,
    pull: Option<Pull>,
    subscribe: bool,
    snapshot: Option<SnapshotWish>,
}

impl Session {
    /// Takes one message after the other, until the connection is to end.
    pub(super) async fn listen<S: AsyncRead + AsyncWrite + Unpin>(&self, receiver: &mut Receiver<S>) -> End {
        loop {
            let late_at = self.showing(|showing| showing.late_at());
            let incoming = tokio::select! {
                biased;
                code = self.mailbox.closing() => return End::Close(code),
                () = until(late_at), if late_at.is_some() => {
                    self.present_late();
                    continue;
                }
                incoming = async {
                    // Who does not read its answers is not asked for more questions.
                    self.mailbox.room().await;
                    receiver.next().await
                } => incoming,
            };
            self.heard();
            if matches!(incoming, Incoming::Frame(_) | Incoming::Sign) && !self.seat.may_send() {
                return End::Close(CloseCode::Flood);
            }
            match incoming {
                Incoming::Frame(frame) => {
                    if let Err(code) = self.take_frame(frame).await {
                        return End::Close(code);
                    }
                }
                Incoming::Sign => {}
                Incoming::Text => return End::Close(CloseCode::NotBinary),
                Incoming::TooLarge => return End::Close(CloseCode::TooLarge),
                Incoming::TooSlow => return End::Close(CloseCode::Idle),
                Incoming::Malformed => return End::Close(CloseCode::BadFrame),
                Incoming::Close(code) => return End::Closed(code),
                Incoming::Gone => return End::Gone,
            }
        }
    }

    async fn take_frame(&self, frame: Bytes) -> Result<(), CloseCode> {
        let long = frame.len() > INLINE_BYTES_MAX;
        // A hundred times as much may come out of it. All of it is here, so nobody on a slow network keeps others waiting.
        let _turn = if long { self.app.live.working.acquire().await.ok() } else { None };
        let request = aside(long, move || wire::decode(&frame)).await.map_err(|_| CloseCode::Internal)?;
        match request.map_err(|_| CloseCode::BadFrame)? {
            // It comes first, and once.
            LiveRequest::Hello { .. } => return Err(CloseCode::BadFrame),
            LiveRequest::Sync { id, space, push, pull, subscribe, snapshot } => {
                self.sync(Sync { id, space, push, pull, subscribe, snapshot }).await;
            }
            LiveRequest::Unsubscribe { space } => self.unfollow(space),
            LiveRequest::Presence { space, data, ttl_ms } => self.present(space, data, ttl_ms),
            LiveRequest::Token { token } => {
                let access = Access::of_token(&self.app, &token.0).await.map_err(|error| refusal(&error))?;
                if access.caller != self.caller {
                    return Err(CloseCode::Unauthorized);
                }
                self.renew(&access);
                self.mailbox.answer(LiveResponse::Renewed { expires_in_ms: self.expires_in_ms() }, 0);
            }
            LiveRequest::Ping { nonce } => self.mailbox.answer(LiveResponse::Pong { nonce }, 0),
        }
        Ok(())
    }

    async fn sync(&self, request: Sync) {
        let (id, space, subscribe) = (request.id, request.space, request.subscribe);
        self.called();
        let limit = Duration::from_millis(self.app.http.request_timeout_ms);
        let done = timeout(limit, self.exchange(request)).await;
        let done = done.unwrap_or_else(|_| Err(ApiError::unavailable("the request took too long")));
        if let Err(error) = done {
            if subscribe {
                self.unfollow(space);
            }
            self.mailbox.end_push(space);
            self.refuse(Some(id), Some(space), &error);
        }
    }

    /// The same as `POST /v1/sync`.
    async fn exchange(&self, request: Sync) -> Result<(), ApiError> {
        let Sync { id, space, push, pull, subscribe, snapshot } = request;
        if subscribe && pull.is_none() {
            return Err(ApiError::subscribe_without_pull());
        }
        if let Some(run) = &push {
            exchange::admissible(run, &self.caller, LIVE_PUSH_BYTES_MAX)?;
        }
        let Some(pull) = pull else {
            // Who follows a space has been let in, and whether it may write is asked when the push is committed.
            if !self.mailbox.follows(space) {
                exchange::enter(&self.app, &self.caller, space).await?;
            }
            let Some(run) = push else {
                let part = self.part(space, snapshot).await?;
                self.answer(id, space, None, None, part);
                return Ok(());
            };
            if let Some(part) = self.part(space, snapshot).await? {
                // Told by itself: what a push brings forth is told in its own time.
                let answer = exchange::take(&self.app, &self.caller, space, run).await?;
                self.answer(id, space, Some(answer), None, Some(part));
                return Ok(());
            }
            self.mailbox.begin_push(space);
            let answer = exchange::take(&self.app, &self.caller, space, run).await?;
            let bytes = weigh(Some(&answer), None);
            self.mailbox.pushed(id, space, answer, bytes);
            return Ok(());
        };
        exchange::enter(&self.app, &self.caller, space).await?;
        let push = match push {
            Some(run) => Some(exchange::take(&self.app, &self.caller, space, run).await?),
            None => None,
        };
        if !subscribe {
            let answer = self.page(space, &pull).await?;
            let part = self.part(space, snapshot).await?;
            self.answer(id, space, push, Some(answer), part);
            return Ok(());
        }
        if !self.mailbox.follow(space, SESSION_SPACES_MAX) {
            return Err(ApiError::too_many_spaces());
        }
        self.app.live.fanout.join(space, self.number, &self.mailbox);
        let answer = self.page(space, &pull).await?;
        let PullAnswer::Page(page) = &answer else {
            self.unfollow(space);
            self.answer(id, space, push, Some(answer), None);
            return Ok(());
        };
        let wish = Wish { own: pull.own, version: pull.version, snapshots: pull.snapshots };
        let snapshot = self.part(space, snapshot).await?;
        let first = First { next: page.next, more: page.more, wish };
        let bytes = weigh(push.as_ref(), Some(&answer)) + weigh_part(snapshot.as_ref());
        let response = LiveResponse::Answer { id, space, push, pull: Some(answer), snapshot };
        self.mailbox.followed(space, first, response, bytes);
        self.app.live.fanout.show_all(space, &self.mailbox);
        Ok(())
    }

    async fn page(&self, space: SpaceId, pull: &Pull) -> Result<PullAnswer, ApiError> {
        exchange::page(&self.app, self.caller.device, space, pull, PAGE_MAX).await
    }

    async fn part(&self, space: SpaceId, wish: Option<SnapshotWish>) -> Result<Option<SnapshotPart>, ApiError> {
        match wish {
            Some(wish) => exchange::part(&self.app, space, &wish, LIVE_PAGE_BYTES_MAX).await.map(Some),
            None => Ok(None),
        }
    }

    fn answer(
        &self,
        id: u64,
        space: SpaceId,
        push: Option<PushAnswer>,
        pull: Option<PullAnswer>,
        snapshot: Option<SnapshotPart>,
    ) {
        let bytes = weigh(push.as_ref(), pull.as_ref()) + weigh_part(snapshot.as_ref());
        self.mailbox.answer(LiveResponse::Answer { id, space, push, pull, snapshot }, bytes);
    }
}

async fn until(at: Option<Instant>) {
    if let Some(at) = at {
        sleep_until(at.into()).await;
    }
}

/// What a part of a snapshot takes in memory.
fn weigh_part(part: Option<&SnapshotPart>) -> usize {
    part.map_or(0, |part| part.bytes.0.len())
}

/// What an answer takes in memory, about.
fn weigh(push: Option<&PushAnswer>, pull: Option<&PullAnswer>) -> usize {
    let push = match push {
        Some(PushAnswer::Taken { results, need, .. }) => results.len() * RESULT_BYTES + size_of_val(need.as_slice()),
        _ => 0,
    };
    ANSWER_BYTES + push + pull.map_or(0, exchange::weigh_answer)
}
