//! What can go wrong with accounts, devices and spaces: each text says what to do.

use std::time::Duration;

use sync_core::wire::ErrorCode;

use super::request::{Failure, Refusal};

/// A request about an account, a device or a space that was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The server's address is not one.
    #[error("not a server address: {address} (expected http:// or https://)")]
    BadAddress {
        /// What was given.
        address: String,
    },
    /// Nobody is signed in here.
    #[error("nobody is signed in here: sign in first")]
    NotSignedIn,
    /// The address and the password, or the proof, are not those of an account.
    #[error("the e-mail address and the password do not belong together: check both, or sign up")]
    LoginFailed,
    /// Too often.
    #[error("too many tries: wait {} and try again", in_words(.retry_after))]
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The session was ended, here or on another device, or was not used for long.
    #[error("this session has ended: sign in again; nothing on this device is lost")]
    SessionEnded,
    /// The device was revoked. What it has not sent cannot be sent under its old id any more.
    #[error(
        "this device was revoked: what is on it can be read, but it sends nothing any more; sign in with a store of its \
         own, and copy over what was not sent"
    )]
    DeviceRevoked,
    /// The role does not allow it.
    #[error("your role in this space does not allow that: ask one of its owners")]
    Forbidden,
    /// It does not exist, or the user may not see it.
    #[error("there is no such thing here, or you may not see it: check the id, or ask for a new invitation")]
    NotFound,
    /// The space was deleted.
    #[error("this space was deleted, and does not come back; what is on this device of it can be kept or removed")]
    SpaceDeleted,
    /// A space keeps one owner.
    #[error("a space keeps at least one owner: make somebody else an owner first")]
    LastOwner,
    /// There are as many as there may be.
    #[error("{message}")]
    TooMany {
        /// Of what, in the server's words.
        message: String,
    },
    /// A value is out of its range.
    #[error("{message}")]
    Invalid {
        /// Which one, in the server's words.
        message: String,
    },
    /// The app is too old for the server.
    #[error("this app is too old for the server: update it{}; nothing on this device is lost", at(.update_url.as_deref()))]
    UpgradeRequired {
        /// Where, if the server says so.
        update_url: Option<String>,
    },
    /// The app's platform or version is not one.
    #[error("not an app's platform and version: {platform} {version} (expected for example ios 2.4.1)")]
    BadApp {
        /// What was given as its platform.
        platform: String,
        /// And as its version.
        version: String,
    },
    /// The server was not reached, or its answer was lost.
    #[error("the server cannot be reached: check the network and try again; what is written meanwhile is kept")]
    Offline,
    /// The server cannot do it now.
    #[error("the server cannot do that now: try again in a moment")]
    Unavailable {
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// What answers is not a server of Rejoin, or one of another version.
    #[error("what answers there is not a server that this app understands: check the address, or update the app")]
    NotUnderstood,
    /// The user said no to the companion.
    #[error("signing in was refused on the other device")]
    Denied,
    /// The companion's code has run out.
    #[error("the code has run out: ask for a new one")]
    CodeExpired,
    /// What was signed in with is of somebody else, or of another device, than what is here.
    #[error("that is another user or another device than the one whose store is open: use a store of its own")]
    OtherIdentity,
    /// The keychain failed. Nothing was changed on the server's side that a later try does not find again.
    #[error("what signs this device in could not be kept: {0}")]
    Keychain(#[from] super::KeychainError),
    /// A fault of the server, or a refusal that this client does not know.
    #[error("the server refused this: {message} (request {request_id})")]
    Server {
        /// What it said.
        message: String,
        /// For whoever reads the server's logs.
        request_id: String,
    },
}

impl AccountError {
    /// Whether only signing in again helps.
    pub fn ends_session(&self) -> bool {
        matches!(self, Self::NotSignedIn | Self::SessionEnded | Self::DeviceRevoked | Self::OtherIdentity)
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::Unavailable { retry_after } => *retry_after,
            _ => None,
        }
    }
}

impl From<Failure> for AccountError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsent | Failure::Lost => Self::Offline,
            Failure::Strange { status: 429, retry_after } => {
                Self::RateLimited { retry_after: retry_after.unwrap_or(Duration::from_secs(1)) }
            }
            Failure::Strange { status: 500.., retry_after } => Self::Unavailable { retry_after },
            Failure::Strange { .. } => Self::NotUnderstood,
            Failure::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<Refusal> for AccountError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, request_id, retry_after, update_url, .. } = refusal;
        match code {
            ErrorCode::LoginFailed => Self::LoginFailed,
            ErrorCode::RateLimited => Self::RateLimited { retry_after: retry_after.unwrap_or(Duration::from_secs(1)) },
            ErrorCode::Unauthorized | ErrorCode::SessionEnded => Self::SessionEnded,
            ErrorCode::DeviceRevoked => Self::DeviceRevoked,
            ErrorCode::Forbidden => Self::Forbidden,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::SpaceDeleted => Self::SpaceDeleted,
            ErrorCode::LastOwner => Self::LastOwner,
            ErrorCode::TooMany => Self::TooMany { message },
            ErrorCode::Invalid => Self::Invalid { message },
            ErrorCode::UpgradeRequired => Self::UpgradeRequired { update_url },
            ErrorCode::Busy | ErrorCode::Unavailable | ErrorCode::IdempotencyInFlight => {
                Self::Unavailable { retry_after }
            }
            _ => Self::Server { message, request_id },
        }
    }
}

fn at(update_url: Option<&str>) -> String {
    update_url.map(|url| format!(" at {url}")).unwrap_or_default()
}

/// "5 seconds", "15 minutes", rounded up: a moment too early is in vain.
fn in_words(time: &Duration) -> String {
    let seconds = time.as_millis().div_ceil(1_000).max(1);
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds.div_ceil(60), "minute"),
        _ => (seconds.div_ceil(3_600), "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_said_in_words_and_rounded_up() {
        let said = |ms| in_words(&Duration::from_millis(ms));
        assert_eq!(
            [said(0), said(1_000), said(1_001), said(119_000)],
            ["1 second", "1 second", "2 seconds", "119 seconds"]
        );
        assert_eq!([said(120_000), said(900_001), said(86_400_000)], ["2 minutes", "16 minutes", "24 hours"]);
    }
}
