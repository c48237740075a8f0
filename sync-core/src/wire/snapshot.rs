//! Snapshots on the wire: a document's compacted state in place of payloads that a page leaves out. A small one travels in
//! the page, a large one is fetched part by part.
//!
//! A reader that says [`Pull::snapshots`](super::Pull::snapshots) gets entries whose payloads are left out as if they were
//! its own, but with their hashes, so that the log's chain can be checked. The snapshot that stands in for them comes with
//! the page that holds the newest entry it covers: who has read that far has the document exactly as it was there.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::run::Base64;
use crate::id::{DocId, Hash};

/// Bytes: as they are in msgpack, base64 in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Base64(self.0.clone()).serialize(serializer)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Base64::deserialize(deserializer).map(|bytes| Self(bytes.0)).map_err(D::Error::custom)
        } else {
            ByteBuf::deserialize(deserializer).map(|bytes| Self(bytes.into_vec()))
        }
    }
}

/// A document's compacted state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Of which document.
    pub doc: DocId,
    /// The newest entry of the log that it covers: all changes of the document up to there are in it.
    pub seq: u64,
    /// SHA-256 of its bytes.
    pub hash: Hash,
    /// How many there are.
    pub size: u64,
    /// The document's heads in it, ascending.
    pub heads: Vec<Hash>,
    /// The bytes, unless they are to be fetched: then by [`SnapshotWish`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, content_encoding = "base64"))]
    pub bytes: Option<Bytes>,
    /// How changes of the document stand of which, or of what they were made upon, something was excluded
    /// ([`Grafts::encode`](crate::graft::Grafts::encode)); left out where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, content_encoding = "base64"))]
    pub grafts: Option<Bytes>,
}

/// A wish for a part of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotWish {
    /// Of which document.
    pub doc: DocId,
    /// Of which snapshot. Where the document has a newer one by now, the answer is the beginning of that.
    pub hash: Hash,
    /// Where the part begins.
    pub offset: u64,
    /// How long it may be; the server's limits bound it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u32>,
}

/// A part of a snapshot; of one without size where the document has none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotPart {
    /// Of which one, without its bytes.
    pub snapshot: Snapshot,
    /// Where the part begins.
    pub offset: u64,
    /// The part.
    #[cfg_attr(feature = "openapi", schema(value_type = String, content_encoding = "base64"))]
    pub bytes: Bytes,
}
