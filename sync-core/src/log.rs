//! The log: the server's total order of one space, hash-chained; cursors into it, and receipts over it.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::code::RejectCode;
use crate::feed::{Body, ChangeId, ItemKind};
use crate::id::{DocId, Hash, SpaceId};

/// What the server decided about an item, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Verdict {
    /// It takes effect.
    Applied,
    /// It has no effect; its device keeps it.
    Rejected(RejectCode),
}

impl Verdict {
    /// The number that the chain covers and databases store: 0, or the code's.
    pub const fn number(self) -> u8 {
        match self {
            Self::Applied => 0,
            Self::Rejected(code) => code.number(),
        }
    }

    /// The verdict with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Applied),
            code => RejectCode::from_number(code).map(Self::Rejected),
        }
    }
}

/// A place in the log: the last entry seen and the chain's value there. Proof against a server that was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cursor {
    /// The last entry seen, 0 before the first.
    pub seq: u64,
    /// The chain's value there.
    pub chain: Hash,
}

impl Cursor {
    /// Before the first entry of a space.
    pub fn start(space: SpaceId) -> Self {
        Self { seq: 0, chain: Hash::of(&[b"rejoin log", space.as_bytes()]) }
    }

    /// After one more entry.
    #[must_use]
    pub fn next(self, header: &Header) -> Self {
        let seq = self.seq.saturating_add(1);
        let chain = Hash::of(&[
            &self.chain.0,
            &seq.to_be_bytes(),
            header.id.device.as_bytes(),
            &header.id.n.to_be_bytes(),
            &[header.kind.number()],
            header.doc.as_bytes(),
            &header.hash.0,
            &[header.verdict.number()],
        ]);
        Self { seq, chain }
    }
}

/// What the log's chain covers of an entry. Of an exclusion it is that of the change which it is about: its id and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whose item, and which.
    pub id: ChangeId,
    /// What it does.
    pub kind: ItemKind,
    /// To which document.
    pub doc: DocId,
    /// The declared hash.
    pub hash: Hash,
    /// What the server decided.
    pub verdict: Verdict,
}

impl Header {
    /// The entry that excludes a change.
    pub fn exclusion(id: ChangeId, doc: DocId, hash: Hash) -> Self {
        Self { id, kind: ItemKind::Exclude, doc, hash, verdict: Verdict::Rejected(RejectCode::BreaksDocument) }
    }

    /// Whether it is an item of its device's feed, and not the server's word about one.
    pub fn is_item(&self) -> bool {
        self.kind != ItemKind::Exclude
    }
}

/// One entry of the log, as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the chain covers.
    pub header: Header,
    /// What it carries; absent where the item was refused, or where the reader is its author and has it.
    pub body: Option<Body>,
}

/// Proof that the server once held a place in a log: HMAC-SHA-256 of `(space, seq, chain)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Receipt(Hash);

/// The key of receipts. It must not live in the database whose loss the receipts are there to survive.
// As HMAC's state after the key, so that it is not hashed for each receipt.
#[derive(Clone)]
pub struct ReceiptKey(Hmac<Sha256>);

impl ReceiptKey {
    /// From 32 secret random bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        // HMAC pads a short key with zeros to SHA-256's block of 64 bytes.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&secret);
        Self(Hmac::new(&block.into()))
    }

    fn mac(&self, space: SpaceId, place: &Cursor) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(b"rejoin receipt");
        mac.update(space.as_bytes());
        mac.update(&place.seq.to_be_bytes());
        mac.update(&place.chain.0);
        mac
    }

    /// The receipt of a place.
    pub fn sign(&self, space: SpaceId, place: &Cursor) -> Receipt {
        Receipt(Hash(self.mac(space, place).finalize().into_bytes().into()))
    }

    /// Whether this key gave that receipt for that place (compared in constant time).
    pub fn verify(&self, space: SpaceId, place: &Cursor, receipt: &Receipt) -> bool {
        self.mac(space, place).verify_slice(&receipt.0.0).is_ok()
    }
}

impl std::fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceiptKey")
    }
}

impl Receipt {
    /// From its 32 bytes, as a database gives them back.
    pub fn from_hash(hash: Hash) -> Self {
        Self(hash)
    }

    /// Its 32 bytes.
    pub fn as_hash(&self) -> &Hash {
        &self.0
    }
}
