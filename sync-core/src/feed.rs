//! Feeds: what one device has written in one space, without gaps, each item linked to the one before by a hash chain.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code::RejectCode;
use crate::epoch::epoch_hash;
use crate::id::{DeviceId, DocId, Hash, SpaceId};
use crate::limits::COLLECTION_BYTES_MAX;

/// The n-th item of a device's feed in a space: minted when it is sealed, unchanged on every retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId {
    /// Whose feed.
    pub device: DeviceId,
    /// 1, 2, 3, …
    pub n: u64,
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.n)
    }
}

/// What an item does to its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ItemKind {
    /// Brings a document into being, in a collection.
    Create = 1,
    /// One automerge change.
    Change = 2,
    /// Deletes a document for good.
    Delete = 3,
    /// No item of a feed, but the server's word in the log: a change that was taken breaks its document, and what it does is
    /// left out. The entry names the change by its id and its hash.
    Exclude = 4,
    /// Begins a document anew, without the history before it.
    Epoch = 5,
}

impl ItemKind {
    /// The number that hash chains cover and databases store.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with that number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Create),
            2 => Some(Self::Change),
            3 => Some(Self::Delete),
            4 => Some(Self::Exclude),
            5 => Some(Self::Epoch),
            _ => None,
        }
    }
}

/// A place in a feed: its last item and the chain's value there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeedHead {
    /// The last item, 0 before the first.
    pub n: u64,
    /// `chain(n)`.
    pub chain: Hash,
}

impl FeedHead {
    /// Before the first item: `chain(0) = SHA-256(tag ‖ space ‖ device)`.
    pub fn start(space: SpaceId, device: DeviceId) -> Self {
        let chain = Hash::of(&[b"rejoin feed", space.as_bytes(), device.as_bytes()]);
        Self { n: 0, chain }
    }

    /// After one more item: `chain(n) = SHA-256(chain(n-1) ‖ kind ‖ document ‖ declared hash)`.
    #[must_use]
    pub fn next(self, kind: ItemKind, doc: DocId, hash: Hash) -> Self {
        let chain = Hash::of(&[&self.chain.0, &[kind.number()], doc.as_bytes(), &hash.0]);
        Self { n: self.n.saturating_add(1), chain }
    }
}

/// What an item carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The collection of a new document.
    Create {
        /// See [`is_collection`].
        collection: String,
    },
    /// An automerge change chunk.
    Change {
        /// The chunk, as automerge encodes it without compression.
        bytes: Vec<u8>,
    },
    /// Nothing more than the fact.
    Delete,
    /// A document's new beginning.
    Epoch {
        /// An [`Epoch`](crate::epoch::Epoch), encoded.
        bytes: Vec<u8>,
    },
    /// An item that can never be sent again: it consumes its `n`. It keeps the kind that it was sealed with, so that
    /// the chain is the same whether the server saw the item itself before or not.
    Void {
        /// What it was.
        kind: ItemKind,
        /// Why it was given up.
        code: RejectCode,
    },
}

impl Body {
    /// Payload bytes, as budgets count them.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Create { collection } => collection.len(),
            Self::Change { bytes } | Self::Epoch { bytes } => bytes.len(),
            Self::Delete | Self::Void { .. } => 0,
        }
    }
}

/// One item of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Which document.
    pub doc: DocId,
    /// The declared hash, which the chain covers: a change's own hash, or that of the fact.
    pub hash: Hash,
    /// What it carries.
    pub body: Body,
}

impl Item {
    /// The item that creates a document.
    pub fn create(doc: DocId, collection: String) -> Self {
        Self { doc, hash: create_hash(doc, &collection), body: Body::Create { collection } }
    }

    /// A change, with the hash that automerge gave it.
    pub fn change(doc: DocId, hash: Hash, bytes: Vec<u8>) -> Self {
        Self { doc, hash, body: Body::Change { bytes } }
    }

    /// The item that deletes a document.
    pub fn delete(doc: DocId) -> Self {
        Self { doc, hash: delete_hash(doc), body: Body::Delete }
    }

    /// The item that begins an epoch.
    pub fn epoch(doc: DocId, bytes: Vec<u8>) -> Self {
        Self { doc, hash: epoch_hash(doc, &bytes), body: Body::Epoch { bytes } }
    }

    /// What the chain covers as its kind.
    pub fn kind(&self) -> ItemKind {
        match self.body {
            Body::Create { .. } => ItemKind::Create,
            Body::Change { .. } => ItemKind::Change,
            Body::Delete => ItemKind::Delete,
            Body::Epoch { .. } => ItemKind::Epoch,
            Body::Void { kind, .. } => kind,
        }
    }

    /// Payload bytes, as budgets count them.
    pub fn payload_bytes(&self) -> usize {
        self.body.payload_bytes()
    }
}

/// Whether a collection may be called so. A zero byte is none of the texts that databases keep.
pub fn is_collection(name: &str) -> bool {
    (1..=COLLECTION_BYTES_MAX).contains(&name.len()) && !name.contains('\0')
}

/// The declared hash of a creation.
pub fn create_hash(doc: DocId, collection: &str) -> Hash {
    Hash::of(&[b"rejoin create", doc.as_bytes(), collection.as_bytes()])
}

/// The declared hash of a deletion.
pub fn delete_hash(doc: DocId) -> Hash {
    Hash::of(&[b"rejoin delete", doc.as_bytes()])
}

/// Items `base.n + 1 …` of one device's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whose feed.
    pub device: DeviceId,
    /// The place before the first item.
    pub base: FeedHead,
    /// The items, in order.
    pub items: Vec<Item>,
}

impl Run {
    /// The chain's value after each item.
    pub fn links(&self) -> Vec<Hash> {
        let mut head = self.base;
        let link = |item: &Item| {
            head = head.next(item.kind(), item.doc, item.hash);
            head.chain
        };
        self.items.iter().map(link).collect()
    }

    /// The place after the last item.
    pub fn end(&self) -> FeedHead {
        self.items.iter().fold(self.base, |head, item| head.next(item.kind(), item.doc, item.hash))
    }
}
