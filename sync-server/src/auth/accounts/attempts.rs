//! Attempts, counted in the store: on all nodes together, and beyond a restart.

use sync_core::id::Hash;

use super::throttle::Attempt;
use crate::app::App;
use crate::error::ApiError;

/// Tries to write what was decided. One of those at the same time succeeds each time, and after a few the rest is refused
/// without writing: so it takes no more tries than there may be attempts, and a few.
const TRIES_MAX: u32 = 128;

/// Counts an attempt, if it may be made. It is a failure until it [succeeds](succeed).
pub(in crate::auth) async fn take(app: &App, identity: Hash) -> Result<Attempt, ApiError> {
    for _ in 0..TRIES_MAX {
        let now_ms = app.clock.now_ms();
        let record = app.registry.attempts(identity).await?;
        let (was, known) = record.map(|record| (record.version, record.attempts)).unzip();
        let taken = app.accounts.rules.take(known.unwrap_or_default(), now_ms);
        let (attempts, attempt) = taken.map_err(|refused| ApiError::rate_limited(refused.retry_after))?;
        if app.registry.replace_attempts(identity, was, &attempts, now_ms).await? {
            return Ok(attempt);
        }
    }
    Err(ApiError::busy())
}

/// The attempt was no failure.
pub(in crate::auth) async fn succeed(app: &App, identity: Hash, attempt: Attempt) -> Result<(), ApiError> {
    for _ in 0..TRIES_MAX {
        // Swept meanwhile: there is nothing to take back.
        let Some(record) = app.registry.attempts(identity).await? else { return Ok(()) };
        let attempts = app.accounts.rules.succeed(record.attempts, attempt);
        if app.registry.replace_attempts(identity, Some(record.version), &attempts, app.clock.now_ms()).await? {
            return Ok(());
        }
    }
    Err(ApiError::busy())
}
