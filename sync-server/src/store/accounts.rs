//! What a store keeps of accounts: the directory from an address to a user, and how often somebody tried to sign in.

use async_trait::async_trait;
use sync_core::id::Hash;

use super::StoreError;

/// Rows past their time that one attempt clears away: more than it adds.
pub const FORGOTTEN_SWEEP_MAX: u32 = 32;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// Its address, in lower case.
    pub email: String,
    /// The user's id, as tokens bear it.
    pub user: String,
    /// Its password's hash, with what it was computed at.
    pub password_hash: String,
    /// What others call this person.
    pub display_name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// What is known of somebody's attempts to sign in. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts of the window, the oldest first.
    pub recent: Vec<u64>,
    /// Failures of the day, the oldest first.
    pub failures: Vec<u64>,
    /// Failures since the last success.
    pub in_a_row: u32,
    /// The end of the back-off.
    pub not_before_ms: u64,
    /// Blocks in a row.
    pub blocks: u32,
    /// The end of the last block.
    pub blocked_until_ms: u64,
    /// When all this says nothing any more.
    pub forgotten_ms: u64,
}

/// [`Attempts`], and what they are changed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptsRecord {
    /// Grows with each change.
    pub version: u64,
    /// What is known.
    pub attempts: Attempts,
}

/// Accounts.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Adds an account; `false`, and nothing happens, where its address has one.
    async fn add_account(&self, account: AccountRecord) -> Result<bool, StoreError>;

    /// The account of an address.
    async fn account(&self, email: &str) -> Result<Option<AccountRecord>, StoreError>;

    /// A user's account.
    async fn account_of(&self, user: &str) -> Result<Option<AccountRecord>, StoreError>;

    /// Replaces a password's hash; `false`, and nothing happens, where it is another one than `was`.
    async fn replace_password(&self, email: &str, was: &str, hash: &str) -> Result<bool, StoreError>;

    /// Forgets a user's account, name, sessions and what else is known of one, but not that there were devices, which stay
    /// revoked under names that say nothing.
    async fn forget_user(&self, user: &str) -> Result<(), StoreError>;

    /// Attempts to sign in as an identity.
    async fn attempts(&self, identity: Hash) -> Result<Option<AttemptsRecord>, StoreError>;

    /// Replaces them; `false`, and nothing happens, where they have another version than `was` (`None`: there are some).
    /// What is forgotten by `now_ms` is cleared away in small bunches.
    async fn replace_attempts(
        &self,
        identity: Hash,
        was: Option<u64>,
        attempts: &Attempts,
        now_ms: u64,
    ) -> Result<bool, StoreError>;
}

/// Times as a row holds them.
pub(super) fn pack(times: &[u64]) -> Vec<u8> {
    times.iter().flat_map(|time| time.to_be_bytes()).collect()
}

/// And back; `None` where they are something else.
pub(super) fn unpack(bytes: &[u8]) -> Option<Vec<u64>> {
    let (times, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| times.iter().map(|time| u64::from_be_bytes(*time)).collect())
}
