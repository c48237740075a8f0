//! How many requests are worked on at once, for how long, and what becomes of them when the server stops.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{Semaphore, watch};
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

/// The one way in.
pub(crate) struct Gate {
    room: Semaphore,
    size: u32,
    phase: watch::Sender<Phase>,
}

impl Gate {
    pub(crate) fn new(requests_max: usize) -> Self {
        let size = u32::try_from(requests_max).unwrap_or(u32::MAX);
        Self { room: Semaphore::new(requests_max), size, phase: watch::Sender::new(Phase::Open) }
    }

    /// Whether requests are taken.
    pub(crate) fn is_open(&self) -> bool {
        *self.phase.borrow() == Phase::Open
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
pub(crate) async fn pass(State(app): State<App>, request: Request, next: Next) -> Response {
    let gate = &app.gate;
    if !gate.is_open() {
        return ApiError::unavailable("shutting down").into_response();
    }
    let Ok(_permit) = gate.room.try_acquire() else {
        return ApiError::busy().into_response();
    };
    let mut phase = gate.phase.subscribe();
    let limit = Duration::from_millis(app.http.request_timeout_ms);
    tokio::select! {
        answered = timeout(limit, next.run(request)) => match answered {
            Ok(response) => response,
            Err(_) => ApiError::unavailable("the request took too long").into_response(),
        },
        _ = phase.wait_for(|phase| *phase == Phase::Expired) => {
            ApiError::unavailable("not done when the server had to stop").into_response()
        }
    }
}
