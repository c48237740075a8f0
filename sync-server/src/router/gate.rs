//! How many requests are worked on at once, for how long, and what becomes of them when the server stops.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::app::App;
use crate::error::ApiError;

/// After the deadline requests are only dropped and refused, which takes no time worth speaking of.
const REFUSING_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// What was begun is answered, what comes is refused.
    Stopping,
    /// What is still under way is refused too.
    Expired,
}

/// A request's place among those that are worked on, in its extensions: work that outlives the request keeps it.
#[derive(Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// The one way in.
pub(crate) struct Gate {
    room: Arc<Semaphore>,
    size: u32,
    phase: watch::Sender<Phase>,
}

impl Gate {
    pub(crate) fn new(requests_max: usize) -> Self {
        let size = u32::try_from(requests_max).unwrap_or(u32::MAX);
        Self { room: Arc::new(Semaphore::new(requests_max)), size, phase: watch::Sender::new(Phase::Open) }
    }

    /// Requests that are worked on.
    pub(crate) fn in_flight(&self) -> usize {
        self.size as usize - self.room.available_permits()
    }

    /// Whether requests are taken.
    pub(crate) fn is_open(&self) -> bool {
        *self.phase.borrow() == Phase::Open
    }

    /// Works for no longer than that, and not past the deadline of the shutdown.
    pub(crate) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, ApiError> {
        let mut phase = self.phase.subscribe();
        tokio::select! {
            done = timeout(limit, work) => done.map_err(|_| ApiError::unavailable("the request took too long")),
            _ = phase.wait_for(|phase| *phase == Phase::Expired) => {
                Err(ApiError::unavailable("not done when the server had to stop"))
            }
        }
    }

    /// Refuses new requests, waits for those under way until the deadline, and refuses what is left of them.
    pub(crate) async fn stop(&self, deadline: Duration) {
        self.phase.send_replace(Phase::Stopping);
        if timeout(deadline, self.room.acquire_many(self.size)).await.is_err() {
            self.phase.send_replace(Phase::Expired);
            if timeout(REFUSING_MAX, self.room.acquire_many(self.size)).await.is_err() {
                tracing::warn!("requests are still under way after the deadline of the shutdown");
            }
        }
    }
}

/// The layer over every route that works.
pub(crate) async fn pass(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let gate = &app.gate;
    if !gate.is_open() {
        return ApiError::unavailable("shutting down").into_response();
    }
    let Ok(permit) = Arc::clone(&gate.room).try_acquire_owned() else {
        return ApiError::busy().into_response();
    };
    let place = Place { _permit: Arc::new(permit) };
    request.extensions_mut().insert(place.clone());
    let limit = Duration::from_millis(app.http.request_timeout_ms);
    let answered = gate.within(limit, next.run(request)).await;
    drop(place);
    answered.unwrap_or_else(IntoResponse::into_response)
}
