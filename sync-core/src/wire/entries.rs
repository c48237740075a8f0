//! The entries of a page: packed in msgpack, a readable list in JSON.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::pack::{EXPLICIT_HASH, PackError, Packer, Unpacker, inflate};
use super::run::Base64;
use crate::epoch::epoch_hash;
use crate::feed::{Body, ChangeId, ItemKind, create_hash, delete_hash};
use crate::id::{DeviceId, DocId, Hash};
use crate::log::{Entry, Header, Verdict};

const CREATE: u8 = 0;
const STRIPPED: u8 = 1;
const RAW: u8 = 2;
const DELETE: u8 = 3;
/// The reader's own, applied; it has the rest.
const OWN: u8 = 4;
const REJECTED: u8 = 5;
const EPOCH: u8 = 6;
/// Flag of a tag: `n` follows, as it is not one more than this device's last in the page.
const EXPLICIT_N: u8 = 0x40;

/// An entry of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEntry {
    /// Whose item, and which.
    pub id: ChangeId,
    /// What it does.
    pub kind: ItemKind,
    /// To which document.
    pub doc: DocId,
    /// What the server decided.
    pub verdict: Verdict,
    /// The declared hash; left out where the reader is the author and knows it.
    pub hash: Option<Hash>,
    /// What it carries; left out where it was refused, or where the reader is the author.
    pub body: Option<Body>,
}

impl PageEntry {
    /// The entry with its hash put back; `None` if it was left out and `own` does not know it.
    pub fn resolve(self, own: impl FnOnce(ChangeId) -> Option<Hash>) -> Option<Entry> {
        let hash = self.hash.or_else(|| own(self.id))?;
        let header = Header { id: self.id, kind: self.kind, doc: self.doc, hash, verdict: self.verdict };
        Some(Entry { header, body: self.body })
    }

    /// An entry of somebody else, or one that the reader wants whole.
    pub fn whole(entry: Entry) -> Self {
        let Header { id, kind, doc, hash, verdict } = entry.header;
        Self { id, kind, doc, verdict, hash: Some(hash), body: entry.body }
    }

    /// An applied entry of the reader's own feed, without what it has.
    pub fn own(header: &Header) -> Self {
        let Header { id, kind, doc, verdict, .. } = *header;
        Self { id, kind, doc, verdict, hash: None, body: None }
    }
}

/// The entries of a page, in log order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries(pub Vec<PageEntry>);

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Entry))]
struct ReadableEntry {
    device: DeviceId,
    n: u64,
    kind: ItemKind,
    doc: DocId,
    verdict: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    collection: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, content_encoding = "base64"))]
    change: Option<Base64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, content_encoding = "base64"))]
    epoch: Option<Base64>,
}

#[cfg(feature = "openapi")]
impl Entries {
    /// The schema of one of them, and its name.
    pub(crate) fn entry() -> (String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>) {
        use utoipa::{PartialSchema as _, ToSchema as _};
        (ReadableEntry::name().into(), ReadableEntry::schema())
    }

    /// What that refers to.
    pub(crate) fn schemas_of_entry(
        schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>,
    ) {
        <ReadableEntry as utoipa::ToSchema>::schemas(schemas);
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.0.iter().map(readable))
        } else {
            ByteBuf::from(pack(&self.0)).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let entries = Vec::<ReadableEntry>::deserialize(deserializer)?;
            Ok(Self(entries.into_iter().map(entry).collect()))
        } else {
            let packed = ByteBuf::deserialize(deserializer)?;
            unpack(&packed).map(Self).map_err(D::Error::custom)
        }
    }
}

fn readable(entry: &PageEntry) -> ReadableEntry {
    let (collection, change) = match &entry.body {
        Some(Body::Create { collection }) => (Some(collection.clone()), None),
        Some(Body::Change { bytes }) => (None, Some(Base64(bytes.clone()))),
        _ => (None, None),
    };
    let epoch = match &entry.body {
        Some(Body::Epoch { bytes }) => Some(Base64(bytes.clone())),
        _ => None,
    };
    let ChangeId { device, n } = entry.id;
    ReadableEntry {
        device,
        n,
        kind: entry.kind,
        doc: entry.doc,
        verdict: entry.verdict,
        hash: entry.hash,
        collection,
        change,
        epoch,
    }
}

fn entry(entry: ReadableEntry) -> PageEntry {
    let body = match (entry.kind, entry.collection, entry.change.or(entry.epoch)) {
        (ItemKind::Epoch, _, Some(epoch)) => Some(Body::Epoch { bytes: epoch.0 }),
        (ItemKind::Create, Some(collection), _) => Some(Body::Create { collection }),
        (ItemKind::Change, _, Some(change)) => Some(Body::Change { bytes: change.0 }),
        (ItemKind::Delete, ..) if entry.hash.is_some() && entry.verdict == Verdict::Applied => Some(Body::Delete),
        _ => None,
    };
    let id = ChangeId { device: entry.device, n: entry.n };
    PageEntry { id, kind: entry.kind, doc: entry.doc, verdict: entry.verdict, hash: entry.hash, body }
}

pub(super) fn pack(entries: &[PageEntry]) -> Vec<u8> {
    let mut packer = Packer::default();
    let mut last: BTreeMap<DeviceId, u64> = BTreeMap::new();
    for entry in entries {
        let chunk = match (&entry.body, entry.hash) {
            (Some(Body::Change { bytes }), Some(hash)) => Packer::strippable(bytes, hash),
            _ => None,
        };
        let (tag, derived) = match (&entry.verdict, &entry.body) {
            (Verdict::Rejected(_), _) => (REJECTED, None),
            (_, Some(Body::Create { collection })) => (CREATE, Some(create_hash(entry.doc, collection))),
            (_, Some(Body::Change { .. })) if chunk.is_some() => (STRIPPED, entry.hash),
            (_, Some(Body::Change { .. })) => (RAW, None),
            (_, Some(Body::Delete)) => (DELETE, Some(delete_hash(entry.doc))),
            (_, Some(Body::Epoch { bytes })) => (EPOCH, Some(epoch_hash(entry.doc, bytes))),
            (_, None | Some(Body::Void { .. })) => (OWN, None),
        };
        let explicit_hash = entry.hash.filter(|hash| Some(*hash) != derived);
        let before = last.insert(entry.id.device, entry.id.n);
        let explicit_n = before.is_none_or(|before| before.checked_add(1) != Some(entry.id.n));
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        packer.out.push(tag | flag(explicit_hash.is_some(), EXPLICIT_HASH) | flag(explicit_n, EXPLICIT_N));
        packer.device(entry.id.device);
        if explicit_n {
            packer.number(entry.id.n);
        }
        packer.doc(entry.doc);
        if let Some(hash) = explicit_hash {
            packer.hash(&hash);
        }
        match (tag, &entry.body, &chunk) {
            (STRIPPED, _, Some(chunk)) => packer.strip(entry.doc, chunk),
            (CREATE, Some(Body::Create { collection }), _) => packer.bytes(collection.as_bytes()),
            (RAW, Some(Body::Change { bytes }), _) | (EPOCH, Some(Body::Epoch { bytes }), _) => packer.bytes(bytes),
            (OWN, ..) => packer.out.push(entry.kind.number()),
            (REJECTED, ..) => packer.out.extend_from_slice(&[entry.kind.number(), entry.verdict.number()]),
            _ => {}
        }
    }
    packer.finish()
}

pub(super) fn unpack(packed: &[u8]) -> Result<Vec<PageEntry>, PackError> {
    let raw = inflate(packed)?;
    let mut input = Unpacker::new(&raw);
    let mut last: BTreeMap<DeviceId, u64> = BTreeMap::new();
    let mut entries = Vec::new();
    while let Some(tag) = input.tag()? {
        let (device, _) = input.device()?;
        let n = if tag & EXPLICIT_N != 0 {
            input.number()?
        } else {
            last.get(&device).and_then(|n| n.checked_add(1)).ok_or(PackError::Malformed)?
        };
        last.insert(device, n);
        let doc = input.doc()?;
        let explicit = if tag & EXPLICIT_HASH == 0 { None } else { Some(input.hash()?) };
        let applied = Verdict::Applied;
        let (kind, verdict, derived, body) = match tag & !(EXPLICIT_HASH | EXPLICIT_N) {
            CREATE => {
                let collection = std::str::from_utf8(input.bytes()?).map_err(|_| PackError::Malformed)?.to_owned();
                let derived = create_hash(doc, &collection);
                (ItemKind::Create, applied, Some(derived), Some(Body::Create { collection }))
            }
            STRIPPED => {
                let (bytes, hash) = input.unstrip(doc)?;
                (ItemKind::Change, applied, Some(hash), Some(Body::Change { bytes }))
            }
            RAW => (ItemKind::Change, applied, None, Some(Body::Change { bytes: input.bytes()?.to_vec() })),
            EPOCH => {
                let bytes = input.bytes()?.to_vec();
                (ItemKind::Epoch, applied, Some(epoch_hash(doc, &bytes)), Some(Body::Epoch { bytes }))
            }
            DELETE => (ItemKind::Delete, applied, Some(delete_hash(doc)), Some(Body::Delete)),
            OWN => (input.kind_of_item()?, applied, None, None),
            REJECTED => {
                let kind = input.kind()?;
                let verdict = Verdict::from_number(input.byte()?).ok_or(PackError::Malformed)?;
                (kind, verdict, None, None)
            }
            _ => return Err(PackError::Malformed),
        };
        let id = ChangeId { device, n };
        entries.push(PageEntry { id, kind, doc, verdict, hash: explicit.or(derived), body });
    }
    Ok(entries)
}
