//! The library's own threads: one small runtime for whoever waits, made when it is first needed.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use tokio::runtime::Runtime;

use super::error::RejoinError;

/// Threads for calls that block. More calls at once than this wait for each other.
const BLOCKING_THREADS_MAX: usize = 16;

fn runtime() -> Result<&'static Runtime, RejoinError> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let make = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(BLOCKING_THREADS_MAX).thread_name("rejoin-call").enable_time();
        builder.build().inspect_err(|error| tracing::error!(%error, "no threads for calls")).ok()
    };
    RUNTIME.get_or_init(make).as_ref().ok_or_else(RejoinError::internal)
}

/// Runs what blocks on a thread of the library's own. Whoever stops waiting leaves it to its end.
pub(super) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, RejoinError>
where
    T: Send + 'static,
    E: Into<RejoinError> + Send + 'static,
{
    let done = runtime()?.spawn_blocking(work).await;
    done.map_err(|_| RejoinError::internal())?.map_err(Into::into)
}

/// Runs a future of foreign code on the runtime; it is dropped with what this gives.
pub(super) fn spawn(
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<tokio::task::JoinHandle<()>, RejoinError> {
    Ok(runtime()?.spawn(work))
}

/// Runs what mostly waits on the runtime; it ends when nobody waits for it any more.
pub(super) async fn waiting<T: Send + 'static>(
    work: impl Future<Output = Result<T, RejoinError>> + Send + 'static,
) -> Result<T, RejoinError> {
    struct Abort(tokio::task::AbortHandle);
    impl Drop for Abort {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let task = runtime()?.spawn(work);
    let _abort = Abort(task.abort_handle());
    task.await.map_err(|_| RejoinError::internal())?
}

/// Runs what is quick on the caller's thread; a panic becomes an error.
pub(super) fn guarded<T, E: Into<RejoinError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, RejoinError> {
    // What is behind a handle is whole after a panic: locks are taken over, and the store is a transaction.
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| RejoinError::internal())?.map_err(Into::into)
}
