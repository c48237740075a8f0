//! A stream that knows how much of a message has come in: large ones of all connections share a bounded number of places, and
//! one that is larger than allowed is not read to its end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// What of a message may be held without a place.
const SMALL_BYTES: usize = 64 << 10;

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A stream whose messages are measured.
pub(super) struct Metered<S> {
    stream: S,
    bytes_max: usize,
    /// What was read since the last message ended.
    bytes: usize,
    large: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
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
        Self { stream, bytes_max, bytes: 0, large, place: None, acquiring: None }
    }

    pub(super) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// What comes now is of another message.
    pub(super) fn message_ended(&mut self) {
        self.bytes = 0;
        (self.place, self.acquiring) = (None, None);
    }

    /// The stream itself.
    pub(super) fn unmetered(&mut self) -> &mut S {
        &mut self.stream
    }

    fn poll_place(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.bytes > SMALL_BYTES && self.place.is_none() {
            let large = &self.large;
            let acquiring = self.acquiring.get_or_insert_with(|| Box::pin(Arc::clone(large).acquire_owned()));
            // The semaphore is never closed.
            self.place = ready!(acquiring.as_mut().poll(context)).ok();
            self.acquiring = None;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let metered = &mut *self;
        if metered.bytes > metered.bytes_max {
            return Poll::Ready(Err(io::Error::other(TooLarge)));
        }
        ready!(metered.poll_place(context));
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut metered.stream).poll_read(context, into));
        metered.bytes += into.filled().len() - before;
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
