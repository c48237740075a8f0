//! A stream that knows how much of a message has come in: large ones of all connections share a bounded number of places, and
//! one that is larger than allowed is not read to its end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// What of a message may be held without a place.
const SMALL_BYTES: usize = 64 << 10;

type Place = (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit);
type Acquiring = Pin<Box<dyn Future<Output = Result<Place, AcquireError>> + Send>>;

/// How long a large message may take once it has its place: who sends it a byte at a time must not keep others waiting.
const LARGE_MAX: Duration = Duration::from_mins(1);

/// A stream whose messages are measured.
pub(super) struct Metered<S> {
    stream: S,
    bytes_max: usize,
    /// What was read since the last message ended, and in all.
    bytes: usize,
    total: u64,
    /// Of all connections, and of the user where it is known.
    large: Arc<Semaphore>,
    own: Option<Arc<Semaphore>>,
    place: Option<(Place, Instant)>,
    acquiring: Option<Acquiring>,
}

/// A message was larger than allowed.
#[derive(Debug, thiserror::Error)]
#[error("a message is larger than allowed")]
struct TooLarge;

/// Whether that is why reading failed.
pub(super) fn is_too_large(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(error) if error.is::<TooLarge>())
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, bytes_max: usize, large: Arc<Semaphore>) -> Self {
        Self { stream, bytes_max, bytes: 0, total: 0, large, own: None, place: None, acquiring: None }
    }

    /// Whoever sends is known, and may send messages of any size.
    pub(super) fn trust(&mut self, own: Arc<Semaphore>) {
        (self.bytes_max, self.own) = (usize::MAX, Some(own));
    }

    /// What comes now is of another message.
    pub(super) fn message_ended(&mut self) {
        self.bytes = 0;
        (self.place, self.acquiring) = (None, None);
    }

    /// What comes now may be of the same message as before.
    pub(super) fn sign_ended(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// What was read in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The stream itself.
    pub(super) fn unmetered(&mut self) -> &mut S {
        &mut self.stream
    }

    fn poll_place(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.bytes > SMALL_BYTES && self.place.is_none() {
            let Self { large, own, .. } = &*self;
            let (large, own) = (Arc::clone(large), own.clone());
            let acquiring = self.acquiring.get_or_insert_with(|| Box::pin(acquire(own, large)));
            // The semaphore is never closed.
            self.place = ready!(acquiring.as_mut().poll(context)).ok().map(|place| (place, Instant::now()));
            self.acquiring = None;
        }
        Poll::Ready(())
    }
}

/// The user's own first: while they are all taken, its further messages do not stand in anybody's way.
async fn acquire(own: Option<Arc<Semaphore>>, large: Arc<Semaphore>) -> Result<Place, AcquireError> {
    let own = match own {
        Some(own) => Some(own.acquire_owned().await?),
        None => None,
    };
    Ok((own, large.acquire_owned().await?))
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let metered = &mut *self;
        if metered.bytes > metered.bytes_max {
            return Poll::Ready(Err(io::Error::other(TooLarge)));
        }
        if metered.place.as_ref().is_some_and(|(_, since)| since.elapsed() > LARGE_MAX) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(metered.poll_place(context));
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut metered.stream).poll_read(context, into));
        let count = into.filled().len() - before;
        metered.bytes += count;
        metered.total += count as u64;
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
