//! What happens to a live connection as time passes: heartbeats, the end of its token, the end of its silence.

use std::pin::pin;
use std::time::{Duration, Instant};

use sync_core::wire::{CloseCode, LiveResponse};
use tokio::time::{sleep_until, timeout};

use super::Phase;
use super::session::{End, Session};
use crate::error::ApiError;
use crate::exchange;
use crate::fanout::mailbox::Doubt;

/// Before a token runs out, its client is told so.
const TOKEN_WARNING: Duration = Duration::from_mins(1);
/// Whether a caller is still a member, and its device may call, is looked up every so many heartbeats.
const BEATS_A_LOOK: u32 = 6;
/// When that may have changed, it is looked up after a moment, in which more may come: a phone follows many spaces at once,
/// and an owner who goes through a list of members changes many.
const DOUBT_DELAY: Duration = Duration::from_millis(100);
/// And when the storage did not answer, again and again.
const DOUBT_RETRY: Duration = Duration::from_secs(1);
/// Whether a device is cut off is told in that time, or not at all.
const DEVICE_LOOK_MAX: Duration = Duration::from_millis(500);

impl Session {
    /// Minds the time, until the connection's is up. `idle` is how long it may say nothing, where it can say something.
    pub(super) async fn mind(&self, idle: Option<Duration>) -> End {
        let heartbeat = Duration::from_millis(self.app.live.config.heartbeat_ms);
        let mut phase = self.app.live.phase();
        let mut beat_at = Instant::now() + spread(self.number, heartbeat);
        let mut beats = 0;
        let mut warned_of = None;
        let mut look_at = None;
        let mut doubt = Doubt::Spaces;
        loop {
            let expires_at = self.expires_at();
            let idle_at = idle.map(|idle| self.heard_at() + idle);
            let warn_at = if warned_of == Some(expires_at) { expires_at } else { before(expires_at, TOKEN_WARNING) };
            let next = beat_at.min(warn_at).min(expires_at);
            let next = idle_at.map_or(next, |idle_at| idle_at.min(next));
            let next = look_at.map_or(next, |look_at: Instant| look_at.min(next));
            tokio::select! {
                () = sleep_until(next.into()) => {}
                raised = self.mailbox.doubted() => {
                    doubt = doubt.max(raised);
                    let wait = if raised == Doubt::Told { Duration::ZERO } else { DOUBT_DELAY };
                    let at = Instant::now() + wait;
                    look_at = Some(look_at.map_or(at, |look_at: Instant| look_at.min(at)));
                    continue;
                }
                _ = phase.wait_for(|phase| *phase != Phase::Open) => break,
            }
            let now = Instant::now();
            if now >= self.expires_at() {
                return End::Close(CloseCode::Unauthorized);
            }
            if idle.is_some_and(|idle| now >= self.heard_at() + idle) {
                return End::Close(CloseCode::Idle);
            }
            if now >= warn_at && warned_of != Some(expires_at) {
                warned_of = Some(expires_at);
                self.mailbox.answer(LiveResponse::TokenExpires { in_ms: self.expires_in_ms() }, 0);
            }
            if now >= beat_at {
                beat_at = now + heartbeat;
                self.mailbox.beat();
                beats += 1;
                if beats % BEATS_A_LOOK == 0 {
                    doubt = doubt.max(Doubt::Device);
                    look_at.get_or_insert(now);
                }
            }
            if look_at.is_some_and(|look_at| now >= look_at) {
                match self.look(&mut doubt).await {
                    Ok(None) => (look_at, doubt) = (None, Doubt::Spaces),
                    Ok(Some(again_in)) => look_at = Some(Instant::now() + again_in),
                    Err(code) => return End::Close(code),
                }
            }
        }
        // What was begun is answered before.
        self.mailbox.close(CloseCode::GoingAway);
        // The phase only goes on, and its sender lives as long as this connection.
        let _ = phase.wait_for(|phase| *phase == Phase::Expired).await;
        End::Close(CloseCode::GoingAway)
    }

    /// Looks up what is doubted, and says in what time to look again, if at all; an error where the connection has to end.
    async fn look(&self, doubt: &mut Doubt) -> Result<Option<Duration>, CloseCode> {
        if *doubt >= Doubt::Device {
            let access = self.access();
            let looked = timeout(DEVICE_LOOK_MAX, self.app.devices.look(&access)).await;
            match looked.unwrap_or_else(|_| Err(ApiError::unavailable("no answer in time"))) {
                Ok(()) => {}
                Err(error) if !error.is_of_the_server() => return Err(CloseCode::Unauthorized),
                // Somebody said that it was cut off, and nobody can say that it was not.
                Err(_) if *doubt == Doubt::Told => return Err(CloseCode::Unavailable),
                Err(_) => return Ok(Some(DOUBT_RETRY)),
            }
        }
        // From here on a device that is cut off is a new doubt.
        *doubt = Doubt::Spaces;
        let mut again = None;
        let mut looking = pin!(self.look_at_members());
        loop {
            tokio::select! {
                looked = &mut looking => return Ok(if looked { again } else { Some(DOUBT_RETRY) }),
                raised = self.mailbox.doubted() => {
                    *doubt = raised.max(*doubt);
                    again = Some(DOUBT_DELAY);
                    if raised == Doubt::Told {
                        // However slow the storage is just now.
                        return Ok(Some(Duration::ZERO));
                    }
                }
            }
        }
    }

    /// Whoever lost access to a space is no longer sent anything of it. `false` where the storage cannot be asked.
    async fn look_at_members(&self) -> bool {
        let Ok(spaces) = self.app.store.spaces_of(&self.caller.user).await else { return false };
        for space in self.mailbox.spaces() {
            if spaces.binary_search_by_key(&space, |(space, _)| *space).is_err() {
                self.unfollow(space);
                let mut why = exchange::away(&self.app, &self.caller, space).await;
                if why.is_of_the_server() {
                    why = ApiError::not_found();
                }
                self.refuse(None, Some(space), &why);
            }
        }
        true
    }
}

/// When the first heartbeat comes: spread evenly, so that thousands of connections are not written to at once.
fn spread(number: u64, heartbeat: Duration) -> Duration {
    // Multiples of the golden ratio, modulo 1, keep their distance however many there are.
    let place = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Duration::from_millis((heartbeat.as_millis() as u64 * place) >> 32)
}

fn before(at: Instant, time: Duration) -> Instant {
    at.checked_sub(time).unwrap_or(at)
}
