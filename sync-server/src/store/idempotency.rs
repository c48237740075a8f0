//! What a store keeps of requests that came with an idempotency key.

use std::time::Duration;

use sync_core::id::Hash;

/// How long an answer is given again.
pub const ANSWER_KEPT: Duration = Duration::from_hours(24);
/// Rows past their time that one claim clears away: more than it adds, so that they do not pile up, and few enough that it
/// takes no time worth speaking of.
pub const EXPIRED_SWEEP_MAX: u32 = 32;

/// Which request a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Whose it is: the same key of another user is another.
    pub user: String,
    /// Method and route.
    pub route: String,
    /// The key itself.
    pub key: String,
}

/// A random number by which a claim is known to be one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimToken(pub [u8; 16]);

/// Who wants to work on a request.
#[derive(Debug, Clone)]
pub struct NewClaim {
    /// Which request.
    pub of: RequestKey,
    /// What it says.
    pub hash: Hash,
    /// The claim's own.
    pub token: ClaimToken,
    /// How long nobody else may; whoever died frees it thereby.
    pub lease: Duration,
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: it is claimed now.
    Fresh,
    /// It is worked on.
    InFlight,
    /// It was answered.
    Done(KeptAnswer),
    /// The key stands for a request that says something else.
    Mismatch,
}

/// An answer that is given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The status.
    pub status: u16,
    /// What the body is.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}
