//! One renewal, step by step. After each of them the process may die, and the next one goes on from what the keychain has:
//!
//! 1. the old token is sent, and perhaps arrives;
//! 2. the server gives the next one out, and for a while the same again to whoever repeats the old one;
//! 3. the answer comes, or is lost;
//! 4. the keychain takes the next one;
//! 5. what came with it is used.

use std::time::{Duration, Instant};

use sync_core::wire::account::Private;

use super::super::request::Failure;
use super::super::{AccountError, Credentials, ended};
use super::keeping::{Keeping, times};

/// Tries of one renewal whose answer was lost. The server repeats itself for half a minute only, so they follow soon.
const TRIES_MAX: u32 = 4;
/// The pause after the first; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(250);

impl Keeping {
    /// Renews, and saves what came; or finds that somebody else has.
    pub(super) fn fly(&self, refused: Option<&Private>) -> Result<Credentials, AccountError> {
        let _held = self.keychain.hold()?;
        let (mine, unsaved) = {
            let state = self.state();
            (state.credentials.clone(), state.unsaved.clone())
        };
        let stored = self.keychain.load()?.ok_or(AccountError::NotSignedIn)?;
        if !stored.is_same_device(&mine) {
            return Err(AccountError::OtherIdentity);
        }
        if stored.refresh_token != mine.refresh_token {
            self.adopt(&stored);
            if is_good(&stored, refused) {
                return Ok(stored);
            }
        } else if let Some(next) = unsaved {
            // It is the one that the server will accept: asking for a further one would leave an ancient one on disk.
            self.keychain.save(&next)?;
            return Ok(next);
        }
        match self.next_after(&stored) {
            Err(error) if error.ends_session() => self.perhaps_gone_on(&stored, refused).ok_or(error),
            next => self.keep(next?),
        }
    }

    fn keep(&self, next: Credentials) -> Result<Credentials, AccountError> {
        self.state().unsaved = Some(next.clone());
        self.keychain.save(&next)?;
        Ok(next)
    }

    fn next_after(&self, old: &Credentials) -> Result<Credentials, AccountError> {
        let mut pause = PAUSE;
        for _ in 1..TRIES_MAX {
            match self.requests.renew(old) {
                Err(Failure::Lost | Failure::Strange { status: 200 | 500.., .. }) => {
                    self.state().lost = true;
                    // The old one may be used up. What waits here is this renewal alone: edits and reading go on.
                    std::thread::sleep(pause);
                }
                answer => return answer.map_err(ended),
            }
            pause *= 2;
        }
        self.requests.renew(old).map_err(ended)
    }

    /// A process that does not hold the keychain while it renews may have been quicker.
    fn perhaps_gone_on(&self, sent: &Credentials, refused: Option<&Private>) -> Option<Credentials> {
        let stored = self.keychain.load().ok().flatten()?;
        let gone_on = stored.is_same_device(sent) && stored.refresh_token != sent.refresh_token;
        (gone_on && is_good(&stored, refused)).then_some(stored)
    }
}

/// Whether the access token is good for a while.
fn is_good(credentials: &Credentials, refused: Option<&Private>) -> bool {
    let now = Instant::now();
    now < times(credentials, now).1 && Some(&credentials.access_token) != refused
}
