//! The server's secrets: made on first start, kept in files of a folder, never in the database.

use std::io;
use std::path::Path;

use sync_core::id::Hash;
use sync_core::log::ReceiptKey;

mod folder;
mod rotate;
mod signing;
pub(crate) mod watch;

pub use rotate::{ROTATION_AGE_MIN, Rotated, Unrotated, rotate};
pub(crate) use signing::PublicKey;
pub use signing::{SigningKey, SigningKeys, new_signing_key};

use super::sessions::RefreshKey;

/// The file of the key that signs tokens.
pub const SIGNING_KEY: &str = "signing-key.pem";
/// The file of the key that signs after the next rotation. All nodes have it before the first of them signs with it.
pub const NEXT_SIGNING_KEY: &str = "signing-key.next.pem";
/// The file of the key that signed before the last rotation: tokens that it signed still hold.
pub const PREVIOUS_SIGNING_KEY: &str = "signing-key.previous.pem";
/// The file of the key of receipts.
pub const RECEIPT_KEY: &str = "receipt.key";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key file cannot be read or written.
    #[error("key file {file}: {error}")]
    File {
        /// Which file.
        file: String,
        /// Why not.
        error: io::Error,
    },
    /// A key file holds something else.
    #[error("{0} does not hold a valid key; move it away to have a new one made")]
    Invalid(&'static str),
    /// The operating system has no random numbers.
    #[error("no random numbers to make a key of")]
    Random,
}

/// What a node's keys go by. The ids tell nothing of the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyIds {
    /// Of the key that signs tokens.
    pub signing: String,
    /// Of the one that signed them before.
    pub previous: Option<String>,
    /// Of the one that will.
    pub next: Option<String>,
    /// Of the key that signs receipts.
    pub receipts: String,
}

/// All secrets of a server.
pub struct Keys {
    /// Sign tokens.
    pub signing: SigningKeys,
    /// Signs receipts.
    pub receipts: ReceiptKey,
    /// Makes refresh tokens.
    pub refresh: RefreshKey,
    receipts_id: String,
}

impl Keys {
    /// Reads the keys in a folder; what is missing is made. Processes that start at once get the same keys. A folder that
    /// has a signing key and a receipt key is only read, so it may be a mounted secret.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        let (signing, secret) = match (SigningKeys::read(folder)?, folder::read(folder, RECEIPT_KEY)?) {
            (Some(signing), Some(secret)) => (signing, secret),
            _ => make_missing(folder)?,
        };
        let secret: [u8; 32] = secret.try_into().map_err(|_| KeyError::Invalid(RECEIPT_KEY))?;
        let receipts_id = id(b"rejoin receipt key", &secret);
        let refresh = RefreshKey::derive(&secret);
        Ok(Self { signing, receipts: ReceiptKey::new(secret), refresh, receipts_id })
    }

    /// What they go by, for comparing them with those of other nodes.
    pub fn ids(&self) -> KeyIds {
        self.signing.ids(&self.receipts_id)
    }
}

/// A name that tells nothing of what it is made of: 64 bits of a hash.
fn id(tag: &[u8], of: &[u8]) -> String {
    let mut id = Hash::of(&[tag, of]).to_string();
    id.truncate(16);
    id
}

fn make_missing(path: &Path) -> Result<(SigningKeys, Vec<u8>), KeyError> {
    folder::create(path)?;
    let _lock = folder::lock(path)?;
    if folder::read(path, SIGNING_KEY)?.is_none() {
        // First, so that whoever finds a signing key that was just made finds the next one, too.
        folder::read_or_make(path, NEXT_SIGNING_KEY, new_signing_key)?;
        folder::read_or_make(path, SIGNING_KEY, new_signing_key)?;
    }
    let secret = folder::read_or_make(path, RECEIPT_KEY, new_receipt_key)?;
    let signing = SigningKeys::read(path)?.ok_or(KeyError::Invalid(SIGNING_KEY))?;
    Ok((signing, secret))
}

fn new_receipt_key() -> Result<Vec<u8>, KeyError> {
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret).map_err(|_| KeyError::Random)?;
    Ok(secret)
}

#[cfg(test)]
mod tests;
