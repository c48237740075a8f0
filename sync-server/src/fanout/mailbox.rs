//! What waits for one connection: bounded in bytes, behind one lock that is never held for long.
//!
//! Answers are always sent, so who makes them waits while too many are unsent. Pages of followed logs are dropped when there
//! are too many, and read from the log instead, when and as fast as the reader takes them.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sync_core::id::{DeviceId, SpaceId};
use sync_core::log::Cursor;
use sync_core::wire::{CloseCode, LiveResponse, Page, PushAnswer, SpaceHead};

use super::follow::Wish;
use super::parcel::Parcel;
use super::presence::Shown;
use outbox::Outbox;

mod outbox;

/// The mailbox of one connection. All that waits for it waits in one task.
pub(crate) struct Mailbox {
    user: String,
    device: DeviceId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The connection's task, where it waits.
    waker: Option<Waker>,
    outbox: Outbox,
    /// What may have changed about the connection's rights, if anything.
    doubt: Option<Doubt>,
    closing: Option<CloseCode>,
}

/// What is to be looked up about a connection's rights. Each kind comes with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// What the user may do in the followed spaces.
    Spaces,
    /// Whether its device may call, and its session goes on.
    Device,
    /// The same, and somebody said that it is not so: it has to be found out at once.
    Told,
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// As it is.
    Whole(Box<LiveResponse>),
    /// To a push, with what continues the log where the space is followed.
    Pushed { id: u64, space: SpaceId, push: Box<PushAnswer>, log: Vec<Arc<Parcel>> },
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Beat(Vec<SpaceHead>),
    Answer(Answer),
    Page(Arc<Parcel>),
    LogPage(SpaceId, Box<Page>),
    Presence(SpaceId, Vec<Arc<Shown>>),
}

/// A log that is to be read, since the connection has fallen behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) space: SpaceId,
    pub(crate) since: Cursor,
    pub(crate) wish: Wish,
}

/// Whether the connection's task has something new to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    Yes,
    /// Unless it is busy writing: it comes back by itself.
    IfIdle,
    No,
}

impl Mailbox {
    pub(crate) fn new(user: &str, device: DeviceId) -> Self {
        Self { user: user.to_owned(), device, state: Mutex::default() }
    }

    /// Whose it is.
    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    /// Whose it is.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, wake: Wake, change: impl FnOnce(&mut Outbox) -> T) -> T {
        let (result, waker) = {
            let mut state = self.lock();
            let result = change(&mut state.outbox);
            let wakes = wake == Wake::Yes || (wake == Wake::IfIdle && state.outbox.is_idle());
            (result, if wakes { state.waker.take() } else { None })
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// What is kept for this connection, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.lock().outbox.bytes()
    }

    // What comes from the fan-out.

    /// A notice of a space that may be followed.
    pub(crate) fn offer(&self, parcel: &Arc<Parcel>) {
        self.change(Wake::IfIdle, |outbox| outbox.offer(self.device, parcel));
    }

    /// Where the database has the log of a space.
    pub(crate) fn learn(&self, space: SpaceId, head: Cursor) {
        self.change(Wake::IfIdle, |outbox| outbox.learn(space, head));
    }

    /// Somebody shows itself in a space, or leaves. One does not see oneself.
    pub(crate) fn show(&self, space: SpaceId, shown: &Arc<Shown>) {
        if shown.device() != self.device {
            self.change(Wake::IfIdle, |outbox| outbox.show(space, shown));
        }
    }

    /// Something is to be looked up.
    pub(crate) fn doubt(&self, doubt: Doubt) {
        let waker = {
            let mut state = self.lock();
            state.doubt = state.doubt.max(Some(doubt));
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    // What comes from the connection itself.

    /// A heartbeat is due.
    pub(crate) fn beat(&self) {
        self.change(Wake::IfIdle, Outbox::beat);
    }

    /// Answers a request, with a frame of about so many bytes.
    pub(crate) fn answer(&self, response: LiveResponse, bytes: usize) {
        self.change(Wake::IfIdle, |outbox| outbox.answer(response, bytes));
    }

    /// Begins to follow a space, or begins anew; `false` where there are too many. Notices are heard from now on, but nothing
    /// is sent before [`followed`](Self::followed): a connection follows first and reads second.
    pub(crate) fn follow(&self, space: SpaceId, spaces_max: usize) -> bool {
        self.change(Wake::No, |outbox| outbox.follow(space, spaces_max))
    }

    /// Follows a space from that place on; the log is read first.
    pub(crate) fn follow_from(&self, space: SpaceId, place: Cursor) {
        self.change(Wake::IfIdle, |outbox| {
            outbox.follow(space, usize::MAX);
            outbox.followed(space, place, true, Wish::default());
        });
    }

    /// Where the receiver is in a log that it follows, when it has what was handed out.
    pub(crate) fn place(&self, space: SpaceId) -> Option<Cursor> {
        self.lock().outbox.place(space)
    }

    /// The first page was read: answers with it, and goes on behind it.
    pub(crate) fn followed(&self, space: SpaceId, first: First, response: LiveResponse, bytes: usize) {
        let First { next, more, wish } = first;
        self.change(Wake::IfIdle, |outbox| {
            outbox.answer(response, bytes);
            outbox.followed(space, next, more, wish);
        });
    }

    /// Follows a space no longer; `false` where it did not.
    pub(crate) fn unfollow(&self, space: SpaceId) -> bool {
        self.change(Wake::No, |outbox| outbox.unfollow(space))
    }

    /// Whether a space is followed.
    pub(crate) fn follows(&self, space: SpaceId) -> bool {
        self.lock().outbox.follows(space)
    }

    /// The spaces that are followed.
    pub(crate) fn spaces(&self) -> Vec<SpaceId> {
        self.lock().outbox.spaces()
    }

    /// A push is about to be committed: what it adds to a followed log waits for its answer, and goes out with it.
    pub(crate) fn begin_push(&self, space: SpaceId) {
        self.change(Wake::No, |outbox| outbox.begin_push(space));
    }

    /// The push was answered, by a frame of about so many bytes.
    pub(crate) fn pushed(&self, id: u64, space: SpaceId, push: PushAnswer, bytes: usize) {
        self.change(Wake::IfIdle, |outbox| outbox.pushed(id, space, push, bytes));
    }

    /// The push was refused, or is answered otherwise.
    pub(crate) fn end_push(&self, space: SpaceId) {
        self.change(Wake::IfIdle, |outbox| outbox.end_push(space));
    }

    /// Returns when further answers may be made.
    pub(crate) async fn room(&self) {
        self.until(|state| state.outbox.has_room().then_some(())).await;
    }

    /// Asks the connection to end.
    pub(crate) fn close(&self, code: CloseCode) {
        let waker = {
            let mut state = self.lock();
            state.closing.get_or_insert(code);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns when it was asked to end.
    pub(crate) async fn closing(&self) -> CloseCode {
        self.until(|state| state.closing).await
    }

    /// Returns when something is to be looked up.
    pub(crate) async fn doubted(&self) -> Doubt {
        self.until(|state| state.doubt.take()).await
    }

    // What the writer does.

    /// What goes out next; what was taken before is written. Whoever stops waiting loses nothing.
    pub(crate) async fn take(&self) -> Outgoing {
        {
            let mut state = self.lock();
            let had_room = state.outbox.has_room();
            state.outbox.written();
            // What waits for that waits in this task, and was perhaps looked at before.
            if state.outbox.is_behind() || (!had_room && state.outbox.has_room()) {
                let waker = state.waker.take();
                drop(state);
                waker.into_iter().for_each(Waker::wake);
            }
        }
        self.until(|state| state.outbox.take()).await
    }

    /// Returns when nothing waits any more, and what was taken is written.
    pub(crate) async fn drained(&self) {
        self.until(|state| state.outbox.is_drained().then_some(())).await;
    }

    /// What goes out together with what was taken before.
    pub(crate) fn take_more(&self) -> Option<Outgoing> {
        self.lock().outbox.take()
    }

    // What the log's reader does.

    /// The next log to be read. Exactly one of [`read`](Self::read) and [`unread`](Self::unread) is to follow.
    pub(crate) async fn behind(&self) -> Behind {
        self.until(|state| state.outbox.behind()).await
    }

    /// A page of it was read, of so many bytes.
    pub(crate) fn read(&self, behind: Behind, page: Page, bytes: usize) {
        self.change(Wake::Yes, |outbox| outbox.read(behind, page, bytes));
    }

    /// It could not be read; it will be tried again.
    pub(crate) fn unread(&self, behind: Behind) {
        self.change(Wake::Yes, |outbox| outbox.unread(behind));
    }

    async fn until<T>(&self, mut check: impl FnMut(&mut State) -> Option<T>) -> T {
        poll_fn(|context: &mut Context<'_>| {
            let mut state = self.lock();
            if let Some(found) = check(&mut state) {
                return Poll::Ready(found);
            }
            let waker = context.waker();
            if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                state.waker = Some(waker.clone());
            }
            Poll::Pending
        })
        .await
    }
}

/// The first page of a followed log: where it ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First {
    pub(crate) next: Cursor,
    pub(crate) more: bool,
    pub(crate) wish: Wish,
}

#[cfg(test)]
mod tests;
