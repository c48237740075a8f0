//! Passwords: which ones are taken, and their hashes. Hashing is dear on purpose, so it has few places, and few may wait for
//! one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::config;
use crate::error::ApiError;

/// Shorter ones are guessed.
const CHARACTERS_MIN: usize = 12;
/// Long enough for any sentence; what is longer only costs time.
pub(super) const BYTES_MAX: usize = 1_024;
/// What a new password must be, as callers are told.
const POLICY: &str =
    "12 characters or more, at most 1,024 bytes, among them an upper-case letter, a digit and a special character";
/// Salt of the hash that is computed where there is no account. Nothing ever equals it.
const NOBODY: &[u8; 16] = b"nobody has this.";

/// Whether a new password is one that is taken. What is neither a letter nor a digit is special.
pub(super) fn admissible(field: &'static str, password: &str) -> Result<(), ApiError> {
    let has = |is: fn(char) -> bool| password.chars().any(is);
    let fine = password.chars().count() >= CHARACTERS_MIN
        && password.len() <= BYTES_MAX
        && has(char::is_uppercase)
        && has(char::is_numeric)
        && has(|character| !character.is_alphanumeric());
    if fine { Ok(()) } else { Err(ApiError::invalid(field, POLICY)) }
}

/// Computes hashes.
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    places: Arc<Semaphore>,
    /// Places, and those who wait for one.
    room: Arc<Semaphore>,
    rooms: u32,
    computed: Arc<AtomicU64>,
}

/// What a password is compared with.
pub(super) enum Known {
    /// The hash of an account.
    Hash(String),
    /// There is no account: the same work, in vain.
    Nobody,
}

/// What came of comparing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compared {
    /// They differ.
    Other,
    /// They are the same.
    Same,
    /// They are the same, and the hash is of another cost than new ones: this is the one to keep instead.
    Outdated(String),
}

impl Passwords {
    pub(super) fn new(config: &config::Accounts) -> Result<Self, argon2::Error> {
        let params = Params::new(config.memory_kib, config.iterations, config.parallelism, None)?;
        let rooms = config.hashes_at_once + config.hashes_waiting_max;
        Ok(Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            places: Arc::new(Semaphore::new(config.hashes_at_once)),
            room: Arc::new(Semaphore::new(rooms)),
            rooms: u32::try_from(rooms).unwrap_or(u32::MAX),
            computed: Arc::default(),
        })
    }

    /// Room for one hash, where there is some.
    pub(super) fn enter(&self) -> Result<Hasher, ApiError> {
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| ApiError::busy())?;
        let (argon2, computed) = (self.argon2.clone(), Arc::clone(&self.computed));
        Ok(Hasher { argon2, computed, places: Arc::clone(&self.places), room: Arc::new(room) })
    }

    /// Waits until nobody is in any room.
    pub(super) async fn settled(&self) {
        // It is never closed.
        let _ = self.room.acquire_many(self.rooms).await;
    }

    /// How many hashes were computed.
    #[cfg(test)]
    pub(super) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }
}

/// Room for one hash.
pub(super) struct Hasher {
    argon2: Argon2<'static>,
    computed: Arc<AtomicU64>,
    places: Arc<Semaphore>,
    room: Arc<OwnedSemaphorePermit>,
}

impl Hasher {
    /// The room, for as long as there is something to do with what was computed.
    pub(super) fn room(&self) -> Arc<OwnedSemaphorePermit> {
        Arc::clone(&self.room)
    }

    /// The hash of a new password.
    pub(super) async fn hash(self, password: &str) -> Result<String, ApiError> {
        let password = password.to_owned();
        self.compute(move |argon2, computed| hash(argon2, computed, &password)).await?
    }

    /// Whether a password is the one that is known.
    pub(super) async fn compare(self, password: &str, known: Known) -> Result<Compared, ApiError> {
        let password = password.to_owned();
        self.compute(move |argon2, computed| compare(argon2, computed, &password, known)).await?
    }

    /// The work keeps its place until it is done, also when nobody waits for it any more.
    async fn compute<T: Send + 'static>(
        self,
        work: impl FnOnce(&Argon2<'static>, &AtomicU64) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Self { argon2, computed, places, room } = self;
        let place = places.acquire_owned().await.map_err(ApiError::internal)?;
        let work = move || {
            let _held = (room, place);
            work(&argon2, &computed)
        };
        spawn_blocking(work).await.map_err(ApiError::internal)
    }
}

fn hash(argon2: &Argon2<'_>, computed: &AtomicU64, password: &str) -> Result<String, ApiError> {
    computed.fetch_add(1, Ordering::Relaxed);
    argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(ApiError::internal)
}

fn compare(argon2: &Argon2<'_>, computed: &AtomicU64, password: &str, known: Known) -> Result<Compared, ApiError> {
    computed.fetch_add(1, Ordering::Relaxed);
    let known = match &known {
        Known::Hash(known) => PasswordHash::new(known).map_err(ApiError::internal)?,
        Known::Nobody => {
            argon2.hash_password_with_salt(password.as_bytes(), NOBODY).map_err(ApiError::internal)?;
            return Ok(Compared::Other);
        }
    };
    match argon2.verify_password(password.as_bytes(), &known) {
        Ok(()) => {}
        Err(argon2::password_hash::Error::PasswordInvalid) => return Ok(Compared::Other),
        Err(error) => return Err(ApiError::internal(error)),
    }
    let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    let at = Params::try_from(&known).map_err(ApiError::internal)?;
    if cost(&at) == cost(argon2.params()) {
        return Ok(Compared::Same);
    }
    Ok(Compared::Outdated(hash(argon2, computed, password)?))
}
