//! Rotation: the key that signs gives way to the next one, and its tokens hold until they expire.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::signing::{SigningKey, new_signing_key};
use super::{KeyError, NEXT_SIGNING_KEY, PREVIOUS_SIGNING_KEY, SIGNING_KEY, folder};

/// How long ago the last rotation must be: until then nodes may not have the key that would sign now, caches may not have seen
/// it, and tokens of the key that would be forgotten may still hold. Access tokens of sessions hold this long at most.
pub const ROTATION_AGE_MIN: Duration = Duration::from_hours(1);

/// What a rotation did; each is the id of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// There was no key to follow, so one was made. It is to reach all nodes before it signs.
    Prepared {
        /// Signs as before.
        current: String,
        /// Signs after the next rotation.
        next: String,
    },
    /// Another key signs.
    Done {
        /// Signed until now, and is believed until the next rotation.
        previous: String,
        /// Signs from now on.
        current: String,
        /// Signs after the next rotation.
        next: String,
        /// Is believed no longer.
        forgotten: Option<String>,
    },
}

/// Why there was no rotation.
#[derive(Debug, thiserror::Error)]
pub enum Unrotated {
    /// The keys are at fault.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// There are none.
    #[error("there is no {SIGNING_KEY} to rotate; `sync-server keys make` makes one")]
    Nothing,
    /// The last one is too young.
    #[error(
        "the next key was made {} minutes ago, and nodes and tokens need an hour: wait, or say --force, which may end \
         sessions that are an hour old or less",
        .0.as_secs() / 60
    )]
    Young(Duration),
}

/// Has the next key sign, keeps the one before, and makes another to follow. Whenever it breaks off, the folder opens, no key
/// is lost that tokens of the last hour were signed with, and another call completes it.
pub fn rotate(path: &Path, now: SystemTime, force: bool) -> Result<Rotated, Unrotated> {
    let _lock = folder::lock(path)?;
    rotate_until(path, now, force, usize::MAX)
}

/// Only so many files are written, for tests of what a crash leaves. The caller holds the lock.
pub(super) fn rotate_until(path: &Path, now: SystemTime, force: bool, writes: usize) -> Result<Rotated, Unrotated> {
    let parse = |pem: &[u8], name| SigningKey::from_pem(pem).map_err(|_| KeyError::Invalid(name));
    let read = |name| folder::read(path, name);
    let current = read(SIGNING_KEY)?.ok_or(Unrotated::Nothing)?;
    let current_id = parse(&current, SIGNING_KEY)?.id().to_owned();
    let new = new_signing_key()?;
    let new_id = parse(&new, NEXT_SIGNING_KEY)?.id().to_owned();
    let Some(next) = read(NEXT_SIGNING_KEY)? else {
        folder::write(path, NEXT_SIGNING_KEY, &new)?;
        return Ok(Rotated::Prepared { current: current_id, next: new_id });
    };
    let next_id = parse(&next, NEXT_SIGNING_KEY)?.id().to_owned();
    let old = read(PREVIOUS_SIGNING_KEY)?.map(|pem| parse(&pem, PREVIOUS_SIGNING_KEY)).transpose()?;
    let old_id = old.map(|key| key.id().to_owned());
    if next_id == current_id {
        // One that broke off before its last step: the key before is where it belongs.
        folder::write(path, NEXT_SIGNING_KEY, &new)?;
        let previous = old_id.unwrap_or_default();
        return Ok(Rotated::Done { previous, current: current_id, next: new_id, forgotten: None });
    }
    let age = age(path, now)?;
    if age < ROTATION_AGE_MIN && !force {
        return Err(Unrotated::Young(age));
    }
    let steps = [(PREVIOUS_SIGNING_KEY, &current), (SIGNING_KEY, &next), (NEXT_SIGNING_KEY, &new)];
    for (name, pem) in steps.into_iter().take(writes) {
        folder::write(path, name, pem)?;
    }
    let forgotten = old_id.filter(|id| *id != current_id);
    Ok(Rotated::Done { previous: current_id, current: next_id, next: new_id, forgotten })
}

/// How long the next key has been there, which is since the last rotation. A clock that went back makes it young.
fn age(path: &Path, now: SystemTime) -> Result<Duration, KeyError> {
    let made = fs::metadata(path.join(NEXT_SIGNING_KEY)).and_then(|file| file.modified());
    let made = made.map_err(folder::failed(NEXT_SIGNING_KEY))?;
    Ok(now.duration_since(made).unwrap_or_default())
}
