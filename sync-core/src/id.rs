//! Identifiers: spaces, documents, devices, hashes, and the actor ids that a device may author under.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::limits::ACTOR_BYTES;

/// An identifier that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}")]
pub struct IdError {
    what: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// From its 16 bytes, big-endian.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// From a slice that must hold exactly 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| IdError { what: $what })
            }

            /// Its 16 bytes, big-endian.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($what, " {}"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError { what: $what })
            }
        }
    };
}

uuid_id!(
    /// The unit of sharing, ordering, permission and sharding.
    SpaceId,
    "space id"
);
uuid_id!(
    /// One automerge document in one space; a UUID v7 that a device mints offline.
    DocId,
    "document id"
);
uuid_id!(
    /// One installation of an app for one user.
    DeviceId,
    "device id"
);

impl SpaceId {
    /// The personal space of a user: the same on every device, known before the server was ever reached.
    ///
    /// A UUID v8 over `SHA-256("rejoin personal space" ‖ user)`. The server alone decides who may enter a space, so the
    /// id being guessable gives nothing away.
    pub fn personal(user: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"rejoin personal space");
        hasher.update(user.as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// A new space from 16 random bytes (UUID v4).
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(random).into_uuid())
    }
}

impl DocId {
    /// A new document: milliseconds since 1970 (a hint for locality alone, nothing trusts it) and 10 random bytes.
    pub fn mint(now_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid())
    }
}

impl DocId {
    /// The document of that name in a collection of a space: the same on every device, so that those who make it offline make one
    /// and the same. A UUID v8, so that no [minted](Self::mint) one is ever the same.
    pub fn named(space: SpaceId, collection: &str, name: &str) -> Self {
        let length = (collection.len() as u64).to_le_bytes();
        let parts: [&[u8]; 5] =
            [b"rejoin named document", space.as_bytes(), &length, collection.as_bytes(), name.as_bytes()];
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Hash::of(&parts).0[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl DeviceId {
    /// A new device from 16 random bytes (UUID v4).
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(random).into_uuid())
    }
}

/// A SHA-256 value: the hash of a change, or a link of a chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// From a slice that must hold exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError { what: "hash" })
    }

    /// SHA-256 over the parts, one after the other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Hash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError { what: "hash" };
        // Digits alone: the library would take a sign, too.
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl From<automerge::ChangeHash> for Hash {
    fn from(hash: automerge::ChangeHash) -> Self {
        Self(hash.0)
    }
}

impl From<Hash> for automerge::ChangeHash {
    fn from(hash: Hash) -> Self {
        Self(hash.0)
    }
}

/// Hexadecimal where people read (JSON), 32 bytes elsewhere.
impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(D::Error::custom)
        } else {
            let bytes = serde_bytes::ByteArray::<32>::deserialize(deserializer)?;
            Ok(Self(bytes.into_array()))
        }
    }
}

/// What every author of a structure begins with: the first half of a UUID v8, which no device has.
pub const ACTORS_OF_STRUCTURES: [u8; 8] = *b"rejoin\x80\x00";
/// The variant that every UUID of today has, in its ninth byte.
const VARIANT: u8 = 0x80;

/// Who authors automerge changes: the device's 16 bytes and 4 random ones, drawn again whenever the device re-authors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor([u8; ACTOR_BYTES]);

impl Actor {
    /// A new actor of a device.
    pub fn new(device: DeviceId, random: [u8; 4]) -> Self {
        let mut bytes = [0; ACTOR_BYTES];
        bytes[..16].copy_from_slice(device.as_bytes());
        bytes[16..].copy_from_slice(&random);
        Self(bytes)
    }

    /// From a slice that must hold exactly 20 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError { what: "actor id" })
    }

    /// The author of a [structure](crate::structure), which follows from what the structure says and from nothing else: 94 bits
    /// of that digest.
    pub(crate) fn of_structure(digest: Hash) -> Self {
        let mut bytes = [0; ACTOR_BYTES];
        bytes[..8].copy_from_slice(&ACTORS_OF_STRUCTURES);
        bytes[8..].copy_from_slice(&digest.0[..ACTOR_BYTES - 8]);
        bytes[8] = VARIANT | bytes[8] & 0x3f;
        Self(bytes)
    }

    /// Whether it authors structures: it belongs to no device.
    pub fn is_structure(&self) -> bool {
        self.0.starts_with(&ACTORS_OF_STRUCTURES)
    }

    /// The first and the last of the actors that a document counts together: those of a device, or those of all structures.
    pub fn counted_with(&self) -> (Self, Self) {
        let shared = if self.is_structure() { ACTORS_OF_STRUCTURES.len() } else { 16 };
        let end = |filler: u8| {
            let mut bytes = [filler; ACTOR_BYTES];
            bytes[..shared].copy_from_slice(&self.0[..shared]);
            Self(bytes)
        };
        (end(0), end(0xff))
    }

    /// The device that this actor belongs to; of a structure's, which belongs to none, an id that no device has.
    pub fn device(&self) -> DeviceId {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        DeviceId::from_bytes(bytes)
    }

    /// Its 20 bytes.
    pub fn as_bytes(&self) -> &[u8; ACTOR_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.device())?;
        self.0[16..].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Actor> for automerge::ActorId {
    fn from(actor: Actor) -> Self {
        Self::from(actor.0.as_slice())
    }
}
