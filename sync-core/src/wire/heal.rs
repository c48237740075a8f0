//! The frames by which a device hands back what a server has lost.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::entries::{self, PageEntry};
use super::run::Base64;
use super::strict;
use crate::feed::{Body, ChangeId, ItemKind};
use crate::heal::{LostEntries, TakenBack};
use crate::id::{DeviceId, DocId, Hash, SpaceId};
use crate::log::{Cursor, Entry, Header, Receipt, Verdict};

/// `POST /v1/heal`: where the log of a space was at some places, and entries that it has lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// Which space.
    pub space: SpaceId,
    /// Numbers of entries at which the chain's value is wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub places: Vec<u64>,
    /// What is handed back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<HandedBack>,
}

/// Entries that a log once had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedBack {
    /// The entries, and what proves them.
    pub lost: LostEntries,
    /// Whether only the receipt for the place before them is wanted.
    pub prove: bool,
}

/// The answer to [`HealRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealResponse {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// Where the log ends now.
    pub head: Cursor,
    /// The chain's value at those of the places asked for that the log has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Cursor>,
    /// The receipt for the place before the entries that were handed back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// What became of them; absent where only a receipt was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<TakenBack>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackedLost {
    #[serde(deserialize_with = "strict::place")]
    base: Cursor,
    entries: ByteBuf,
    receipt: Receipt,
    #[serde(default)]
    prove: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
/// Entries of a log that follow each other, and what proves that it had them. In msgpack they are packed into one string of
/// bytes.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = HandedBack))]
struct ReadableLost {
    /// The place before the first entry.
    #[serde(deserialize_with = "strict::place")]
    #[cfg_attr(feature = "openapi", schema(value_type = strict::StrictCursor))]
    base: Cursor,
    #[cfg_attr(feature = "openapi", schema(max_items = 10_000))]
    entries: Vec<ReadableEntry>,
    /// The server's receipt for the place after the last entry.
    receipt: Receipt,
    /// Whether only the receipt for the place before them is wanted.
    #[serde(default)]
    prove: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
/// An entry that a log once had.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LostEntry))]
struct ReadableEntry {
    device: DeviceId,
    n: u64,
    kind: ItemKind,
    doc: DocId,
    verdict: Verdict,
    hash: Hash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    collection: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, content_encoding = "base64"))]
    change: Option<Base64>,
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for HandedBack {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        ReadableLost::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for HandedBack {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>) {
        ReadableLost::schemas(schemas);
    }
}

impl Serialize for HandedBack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { lost: LostEntries { base, entries, receipt }, prove } = self.clone();
        if serializer.is_human_readable() {
            let entries = entries.into_iter().map(readable).collect();
            ReadableLost { base, entries, receipt, prove }.serialize(serializer)
        } else {
            let whole: Vec<PageEntry> = entries.into_iter().map(PageEntry::whole).collect();
            let entries = ByteBuf::from(entries::pack(&whole));
            PackedLost { base, entries, receipt, prove }.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for HandedBack {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let ReadableLost { base, entries, receipt, prove } = ReadableLost::deserialize(deserializer)?;
            let entries = entries.into_iter().map(entry).collect();
            return Ok(Self { lost: LostEntries { base, entries, receipt }, prove });
        }
        let PackedLost { base, entries, receipt, prove } = PackedLost::deserialize(deserializer)?;
        let entries = entries::unpack(&entries).map_err(D::Error::custom)?.into_iter();
        let entries: Option<Vec<Entry>> = entries.map(|entry| entry.resolve(|_| None)).collect();
        let entries = entries.ok_or_else(|| D::Error::custom(NoHash))?;
        Ok(Self { lost: LostEntries { base, entries, receipt }, prove })
    }
}

struct NoHash;

impl fmt::Display for NoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry without its hash")
    }
}

fn readable(entry: Entry) -> ReadableEntry {
    let Header { id: ChangeId { device, n }, kind, doc, hash, verdict } = entry.header;
    let (collection, change) = match entry.body {
        Some(Body::Create { collection }) => (Some(collection), None),
        // What it carries is said in the place of a change.
        Some(Body::Change { bytes } | Body::Epoch { bytes }) => (None, Some(Base64(bytes))),
        _ => (None, None),
    };
    ReadableEntry { device, n, kind, doc, verdict, hash, collection, change }
}

fn entry(entry: ReadableEntry) -> Entry {
    let ReadableEntry { device, n, kind, doc, verdict, hash, collection, change } = entry;
    let body = match (kind, verdict, collection, change) {
        (_, Verdict::Rejected(_), ..) => None,
        (ItemKind::Create, _, Some(collection), _) => Some(Body::Create { collection }),
        (ItemKind::Change, _, _, Some(change)) => Some(Body::Change { bytes: change.0 }),
        (ItemKind::Epoch, _, _, Some(epoch)) => Some(Body::Epoch { bytes: epoch.0 }),
        (ItemKind::Delete, ..) => Some(Body::Delete),
        _ => None,
    };
    Entry { header: Header { id: ChangeId { device, n }, kind, doc, hash, verdict }, body }
}
