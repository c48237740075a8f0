//! Several runs in one frame: in msgpack one packed body for all of them, so that what they share is sent once and the
//! bounds hold for the whole; a readable list in JSON.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::pack::{PackError, Packer, Unpacker, inflate};
use super::run::{ReadableRun, pack_item, unpack_item};
use crate::feed::{FeedHead, Run};
use crate::id::DeviceId;

/// The run begins where this device's run before it in the frame ended.
const FOLLOWS: u8 = 0;
/// Its base is written out.
const BASE: u8 = 1;

/// Runs of several feeds, in the order in which their sender got them. A run without items says nothing and is not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs(pub Vec<Run>);

impl Serialize for Runs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = self.0.iter().filter(|run| !run.items.is_empty());
        if serializer.is_human_readable() {
            serializer.collect_seq(runs.map(ReadableRun::from))
        } else {
            ByteBuf::from(pack(runs)).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Runs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let runs = Vec::<ReadableRun>::deserialize(deserializer)?;
            Ok(Self(runs.into_iter().map(Run::from).collect()))
        } else {
            let packed = ByteBuf::deserialize(deserializer)?;
            unpack(&packed).map(Self).map_err(D::Error::custom)
        }
    }
}

fn pack<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<u8> {
    let mut packer = Packer::default();
    let mut ends: BTreeMap<DeviceId, FeedHead> = BTreeMap::new();
    for run in runs {
        packer.device(run.device);
        if ends.insert(run.device, run.end()) == Some(run.base) {
            packer.out.push(FOLLOWS);
        } else {
            packer.out.push(BASE);
            packer.number(run.base.n);
            packer.hash(&run.base.chain);
        }
        packer.number(run.items.len() as u64);
        for item in &run.items {
            pack_item(&mut packer, item);
        }
    }
    packer.finish()
}

fn unpack(packed: &[u8]) -> Result<Vec<Run>, PackError> {
    let raw = inflate(packed)?;
    let mut input = Unpacker::new(&raw);
    let mut ends: BTreeMap<DeviceId, FeedHead> = BTreeMap::new();
    let mut runs = Vec::new();
    while !input.is_at_end() {
        let (device, _) = input.device()?;
        let base = match input.byte()? {
            FOLLOWS => ends.get(&device).copied().ok_or(PackError::Malformed)?,
            BASE => FeedHead { n: input.number()?, chain: input.hash()? },
            _ => return Err(PackError::Malformed),
        };
        let count = input.number()?;
        // A run of no items would cost memory that no limit on items counts.
        if count == 0 {
            return Err(PackError::Malformed);
        }
        let mut items = Vec::new();
        for _ in 0..count {
            let tag = input.tag()?.ok_or(PackError::Malformed)?;
            items.push(unpack_item(&mut input, tag)?);
        }
        let run = Run { device, base, items };
        ends.insert(device, run.end());
        runs.push(run);
    }
    Ok(runs)
}
