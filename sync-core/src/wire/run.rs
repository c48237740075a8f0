//! A run on the wire: packed in msgpack, a readable list of items in JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::pack::{EXPLICIT_HASH, PackError, Packer, Unpacker, inflate};
use super::strict;
use crate::code::RejectCode;
use crate::epoch::epoch_hash;
use crate::feed::{Body, FeedHead, Item, ItemKind, Run, create_hash, delete_hash};
use crate::id::{DeviceId, DocId, Hash};

const CREATE: u8 = 0;
const STRIPPED: u8 = 1;
const RAW: u8 = 2;
const DELETE: u8 = 3;
const VOID: u8 = 4;
const EPOCH: u8 = 5;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackedRun {
    device: DeviceId,
    #[serde(deserialize_with = "strict::head")]
    base: FeedHead,
    body: ByteBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
/// Items that follow each other in a device's feed. In msgpack they are packed into one `body`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Run))]
pub(super) struct ReadableRun {
    device: DeviceId,
    #[serde(deserialize_with = "strict::head")]
    #[cfg_attr(feature = "openapi", schema(value_type = strict::StrictHead))]
    base: FeedHead,
    #[cfg_attr(feature = "openapi", schema(max_items = 10_000))]
    items: Vec<ReadableItem>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
/// An item of a feed.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Item))]
enum ReadableItem {
    Create {
        doc: DocId,
        hash: Hash,
        collection: String,
    },
    Change {
        doc: DocId,
        hash: Hash,
        #[cfg_attr(feature = "openapi", schema(value_type = String, content_encoding = "base64"))]
        change: Base64,
    },
    Delete {
        doc: DocId,
        hash: Hash,
    },
    Epoch {
        doc: DocId,
        hash: Hash,
        #[cfg_attr(feature = "openapi", schema(value_type = String, content_encoding = "base64"))]
        epoch: Base64,
    },
    Void {
        doc: DocId,
        hash: Hash,
        #[serde(deserialize_with = "strict::kind")]
        #[cfg_attr(feature = "openapi", schema(value_type = strict::StrictKind))]
        was: ItemKind,
        code: RejectCode,
    },
}

/// Bytes in JSON.
pub(super) struct Base64(pub(super) Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| D::Error::custom("not base64"))
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Run {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        ReadableRun::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Run {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>) {
        ReadableRun::schemas(schemas);
    }
}

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            ReadableRun::from(self).serialize(serializer)
        } else {
            let body = ByteBuf::from(pack(&self.items));
            PackedRun { device: self.device, base: self.base, body }.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            ReadableRun::deserialize(deserializer).map(Self::from)
        } else {
            let run = PackedRun::deserialize(deserializer)?;
            let items = unpack(&run.body).map_err(D::Error::custom)?;
            Ok(Self { device: run.device, base: run.base, items })
        }
    }
}

impl From<&Run> for ReadableRun {
    fn from(run: &Run) -> Self {
        Self { device: run.device, base: run.base, items: run.items.iter().map(readable).collect() }
    }
}

impl From<ReadableRun> for Run {
    fn from(run: ReadableRun) -> Self {
        Self { device: run.device, base: run.base, items: run.items.into_iter().map(item).collect() }
    }
}

fn readable(item: &Item) -> ReadableItem {
    let (doc, hash) = (item.doc, item.hash);
    match &item.body {
        Body::Create { collection } => ReadableItem::Create { doc, hash, collection: collection.clone() },
        Body::Change { bytes } => ReadableItem::Change { doc, hash, change: Base64(bytes.clone()) },
        Body::Delete => ReadableItem::Delete { doc, hash },
        Body::Epoch { bytes } => ReadableItem::Epoch { doc, hash, epoch: Base64(bytes.clone()) },
        Body::Void { kind, code } => ReadableItem::Void { doc, hash, was: *kind, code: *code },
    }
}

fn item(item: ReadableItem) -> Item {
    match item {
        ReadableItem::Create { doc, hash, collection } => Item { doc, hash, body: Body::Create { collection } },
        ReadableItem::Change { doc, hash, change } => Item { doc, hash, body: Body::Change { bytes: change.0 } },
        ReadableItem::Delete { doc, hash } => Item { doc, hash, body: Body::Delete },
        ReadableItem::Epoch { doc, hash, epoch } => Item { doc, hash, body: Body::Epoch { bytes: epoch.0 } },
        ReadableItem::Void { doc, hash, was, code } => Item { doc, hash, body: Body::Void { kind: was, code } },
    }
}

fn pack(items: &[Item]) -> Vec<u8> {
    let mut packer = Packer::default();
    for item in items {
        pack_item(&mut packer, item);
    }
    packer.finish()
}

fn start(packer: &mut Packer, tag: u8, doc: DocId, explicit: Option<Hash>) {
    packer.out.push(tag | if explicit.is_some() { EXPLICIT_HASH } else { 0 });
    packer.doc(doc);
    if let Some(hash) = explicit {
        packer.hash(&hash);
    }
}

pub(super) fn pack_item(packer: &mut Packer, item: &Item) {
    let (doc, hash) = (item.doc, item.hash);
    match &item.body {
        Body::Create { collection } => {
            let explicit = (create_hash(doc, collection) != hash).then_some(hash);
            start(packer, CREATE, doc, explicit);
            packer.bytes(collection.as_bytes());
        }
        Body::Change { bytes } => {
            if let Some(chunk) = Packer::strippable(bytes, hash) {
                start(packer, STRIPPED, doc, None);
                packer.strip(doc, &chunk);
            } else {
                start(packer, RAW, doc, Some(hash));
                packer.bytes(bytes);
            }
        }
        Body::Delete => start(packer, DELETE, doc, (delete_hash(doc) != hash).then_some(hash)),
        Body::Epoch { bytes } => {
            start(packer, EPOCH, doc, (epoch_hash(doc, bytes) != hash).then_some(hash));
            packer.bytes(bytes);
        }
        Body::Void { kind, code } => {
            start(packer, VOID, doc, Some(hash));
            packer.out.extend_from_slice(&[kind.number(), code.number()]);
        }
    }
}

fn unpack(packed: &[u8]) -> Result<Vec<Item>, PackError> {
    let raw = inflate(packed)?;
    let mut input = Unpacker::new(&raw);
    let mut items = Vec::new();
    while let Some(tag) = input.tag()? {
        items.push(unpack_item(&mut input, tag)?);
    }
    Ok(items)
}

pub(super) fn unpack_item(input: &mut Unpacker<'_>, tag: u8) -> Result<Item, PackError> {
    let doc = input.doc()?;
    let explicit = if tag & EXPLICIT_HASH == 0 { None } else { Some(input.hash()?) };
    let (derived, body) = match tag & !EXPLICIT_HASH {
        CREATE => {
            let collection = std::str::from_utf8(input.bytes()?).map_err(|_| PackError::Malformed)?.to_owned();
            (Some(create_hash(doc, &collection)), Body::Create { collection })
        }
        STRIPPED => {
            let (bytes, hash) = input.unstrip(doc)?;
            (Some(hash), Body::Change { bytes })
        }
        RAW => (None, Body::Change { bytes: input.bytes()?.to_vec() }),
        DELETE => (Some(delete_hash(doc)), Body::Delete),
        EPOCH => {
            let bytes = input.bytes()?.to_vec();
            (Some(epoch_hash(doc, &bytes)), Body::Epoch { bytes })
        }
        VOID => {
            let kind = input.kind_of_item()?;
            let code = RejectCode::from_number(input.byte()?).ok_or(PackError::Malformed)?;
            (None, Body::Void { kind, code })
        }
        _ => return Err(PackError::Malformed),
    };
    let hash = explicit.or(derived).ok_or(PackError::Malformed)?;
    Ok(Item { doc, hash, body })
}
