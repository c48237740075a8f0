//! Packed bodies, the part that runs and pages share: tables that are sent as they grow, headers of changes left out
//! where the receiver can put them back, and zstd over the whole.

use crate::chunk::Chunk;
use crate::feed::ItemKind;
use crate::id::{DeviceId, DocId, Hash};
use crate::leb128;
use crate::limits::{INFLATED_RATIO_MAX, PAGE_CHANGES_MAX, PAGE_INFLATED_BYTES_MAX};
use crate::strip::{self, Context};

/// A packed body that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PackError {
    #[error("packed body is cut off or malformed")]
    Malformed,
    #[error("packed body would inflate beyond its limit")]
    Inflates,
    #[error("packed body holds more than {PAGE_CHANGES_MAX} changes")]
    TooMany,
}

/// 3 bytes a keystroke become 1.4 at this level; higher ones gain a tenth and cost ten times the time.
const ZSTD_LEVEL: i32 = 3;
/// A body up to this size is sent as it is: one change alone never compresses, and trying costs more than all the rest of
/// writing a keystroke's frame. What two or three small ones would have saved is less than a packet's headers.
const STORED_BYTES_MAX: usize = 256;
const STORED: u8 = 0;
const ZSTD: u8 = 1;
/// Flag of an item's tag: the declared hash follows, as it cannot be derived.
pub(super) const EXPLICIT_HASH: u8 = 0x80;

/// Writes a body.
#[derive(Default)]
pub(super) struct Packer {
    pub(super) out: Vec<u8>,
    docs: Vec<DocId>,
    devices: Vec<DeviceId>,
    context: Context,
}

impl Packer {
    pub(super) fn doc(&mut self, doc: DocId) {
        index(&mut self.out, &mut self.docs, doc, |id| *id.as_bytes());
    }

    pub(super) fn device(&mut self, device: DeviceId) -> usize {
        index(&mut self.out, &mut self.devices, device, |id| *id.as_bytes())
    }

    pub(super) fn number(&mut self, value: u64) {
        leb128::write(&mut self.out, value);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn hash(&mut self, hash: &Hash) {
        self.out.extend_from_slice(&hash.0);
    }

    /// The change as a chunk that can be stripped, if it is one and its hash is the declared one.
    pub(super) fn strippable(bytes: &[u8], declared: Hash) -> Option<Chunk<'_>> {
        let chunk = Chunk::read(bytes).ok()?;
        (chunk.hash() == declared && strip::strippable(&chunk)).then_some(chunk)
    }

    pub(super) fn strip(&mut self, doc: DocId, chunk: &Chunk<'_>) {
        self.context.strip(doc, chunk, &mut self.out);
    }

    /// The body, compressed where that helps and the receiver will accept the ratio.
    pub(super) fn finish(self) -> Vec<u8> {
        let raw = self.out;
        if raw.len() > STORED_BYTES_MAX
            && let Ok(squeezed) = zstd::bulk::compress(&raw, ZSTD_LEVEL)
        {
            let mut packed = vec![ZSTD];
            leb128::write(&mut packed, raw.len() as u64);
            packed.extend_from_slice(&squeezed);
            if packed.len() <= raw.len() && raw.len() <= packed.len() * INFLATED_RATIO_MAX {
                return packed;
            }
        }
        let mut packed = Vec::with_capacity(1 + raw.len());
        packed.push(STORED);
        packed.extend_from_slice(&raw);
        packed
    }
}

fn index<T: Copy + PartialEq>(out: &mut Vec<u8>, table: &mut Vec<T>, id: T, bytes: impl Fn(&T) -> [u8; 16]) -> usize {
    // Neighbours mostly name the same document or a new one: look from the end, and not far.
    let near = table.iter().rev().take(64).position(|known| *known == id);
    if let Some(back) = near {
        leb128::write(out, back as u64 + 1);
        return table.len() - 1 - back;
    }
    leb128::write(out, 0);
    out.extend_from_slice(&bytes(&id));
    table.push(id);
    table.len() - 1
}

/// Undoes the compression, within the bounds.
pub(super) fn inflate(packed: &[u8]) -> Result<Vec<u8>, PackError> {
    let (&format, mut rest) = packed.split_first().ok_or(PackError::Malformed)?;
    match format {
        STORED if rest.len() > PAGE_INFLATED_BYTES_MAX => Err(PackError::Inflates),
        STORED => Ok(rest.to_vec()),
        ZSTD => {
            let claimed = leb128::read(&mut rest).ok_or(PackError::Malformed)? as usize;
            if claimed > PAGE_INFLATED_BYTES_MAX || claimed > packed.len() * INFLATED_RATIO_MAX {
                return Err(PackError::Inflates);
            }
            let raw = zstd::bulk::decompress(rest, claimed).map_err(|_| PackError::Malformed)?;
            if raw.len() == claimed { Ok(raw) } else { Err(PackError::Malformed) }
        }
        _ => Err(PackError::Malformed),
    }
}

/// Reads an inflated body.
pub(super) struct Unpacker<'a> {
    input: &'a [u8],
    docs: Vec<DocId>,
    devices: Vec<DeviceId>,
    context: Context,
    items: usize,
    /// What unstripped chunks may still take: a reference of one byte stands for a hash of 32.
    left: usize,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            docs: Vec::new(),
            devices: Vec::new(),
            context: Context::default(),
            items: 0,
            left: PAGE_INFLATED_BYTES_MAX,
        }
    }

    /// The tag of the next item; `None` at the end.
    pub(super) fn tag(&mut self) -> Result<Option<u8>, PackError> {
        if self.input.is_empty() {
            return Ok(None);
        }
        self.items += 1;
        if self.items > PAGE_CHANGES_MAX {
            return Err(PackError::TooMany);
        }
        self.byte().map(Some)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.input.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, PackError> {
        let (&byte, rest) = self.input.split_first().ok_or(PackError::Malformed)?;
        self.input = rest;
        Ok(byte)
    }

    pub(super) fn kind(&mut self) -> Result<ItemKind, PackError> {
        ItemKind::from_number(self.byte()?).ok_or(PackError::Malformed)
    }

    /// The kind of what is in a feed: no exclusion.
    pub(super) fn kind_of_item(&mut self) -> Result<ItemKind, PackError> {
        self.kind().and_then(|kind| if kind == ItemKind::Exclude { Err(PackError::Malformed) } else { Ok(kind) })
    }

    pub(super) fn number(&mut self) -> Result<u64, PackError> {
        leb128::read(&mut self.input).ok_or(PackError::Malformed)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], PackError> {
        let (taken, rest) = self.input.split_at_checked(count).ok_or(PackError::Malformed)?;
        self.input = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], PackError> {
        let count = usize::try_from(self.number()?).map_err(|_| PackError::Malformed)?;
        self.take(count)
    }

    pub(super) fn hash(&mut self) -> Result<Hash, PackError> {
        Hash::from_slice(self.take(32)?).map_err(|_| PackError::Malformed)
    }

    pub(super) fn doc(&mut self) -> Result<DocId, PackError> {
        let back = self.number()?;
        if back == 0 {
            let doc = DocId::from_slice(self.take(16)?).map_err(|_| PackError::Malformed)?;
            self.docs.push(doc);
        }
        entry(&self.docs, back).map(|at| self.docs[at])
    }

    /// The device, and its place in the table.
    pub(super) fn device(&mut self) -> Result<(DeviceId, usize), PackError> {
        let back = self.number()?;
        if back == 0 {
            let device = DeviceId::from_slice(self.take(16)?).map_err(|_| PackError::Malformed)?;
            self.devices.push(device);
        }
        entry(&self.devices, back).map(|at| (self.devices[at], at))
    }

    pub(super) fn unstrip(&mut self, doc: DocId) -> Result<(Vec<u8>, Hash), PackError> {
        let whole = self.context.unstrip(doc, &mut self.input, self.left).map_err(|_| PackError::Malformed)?;
        self.left -= whole.0.len();
        Ok(whole)
    }
}

fn entry<T>(table: &[T], back: u64) -> Result<usize, PackError> {
    let back = usize::try_from(back.max(1)).map_err(|_| PackError::Malformed)?;
    table.len().checked_sub(back).ok_or(PackError::Malformed)
}
