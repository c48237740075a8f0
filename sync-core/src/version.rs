//! Version vectors: how far into each feed a replica has applied, over all documents of a space at once.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::feed::{ChangeId, FeedHead};
use crate::id::{DeviceId, Hash};
use crate::leb128;
use crate::limits::VECTOR_DEVICES_MAX;

/// `{device → n}`: because feeds have no gaps, it says exactly which changes a replica has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionVector(BTreeMap<DeviceId, u64>);

/// Changes `after + 1 ..= through` of one device's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingRange {
    /// Whose feed.
    pub device: DeviceId,
    /// The last change that is there.
    pub after: u64,
    /// The last change that is missing.
    pub through: u64,
}

/// A version vector that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The bytes end too early, or go on after the end.
    #[error("version vector is truncated or has trailing bytes")]
    Length,
    /// More devices than a space may have.
    #[error("version vector names more than {VECTOR_DEVICES_MAX} devices")]
    TooManyDevices,
    /// Devices must stand in ascending order, each once, with at least one change.
    #[error("version vector is not canonical")]
    NotCanonical,
}

impl VersionVector {
    /// How many changes of that device are applied.
    pub fn get(&self, device: DeviceId) -> u64 {
        self.0.get(&device).copied().unwrap_or(0)
    }

    /// Whether that change is applied.
    pub fn contains(&self, id: ChangeId) -> bool {
        id.n <= self.get(id.device)
    }

    /// Moves one feed forward; never back.
    pub fn advance(&mut self, device: DeviceId, n: u64) {
        if n > 0 {
            let at = self.0.entry(device).or_insert(0);
            *at = n.max(*at);
        }
    }

    /// The least vector that contains both.
    pub fn merge(&mut self, other: &Self) {
        for (&device, &n) in &other.0 {
            self.advance(device, n);
        }
    }

    /// What `other` has and this has not, in ascending order of devices.
    pub fn missing(&self, other: &Self) -> Vec<MissingRange> {
        let ranges = other.0.iter().filter_map(|(&device, &through)| {
            let after = self.get(device);
            (after < through).then_some(MissingRange { device, after, through })
        });
        ranges.collect()
    }

    /// Devices and their `n`, ascending by device.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, u64)> + '_ {
        self.0.iter().map(|(&device, &n)| (device, n))
    }

    /// Whether nothing is applied.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compact form: the number of devices, then for each 16 bytes and its `n`; numbers are LEB128.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + self.0.len() * 18);
        leb128::write(&mut out, self.0.len() as u64);
        for (device, &n) in &self.0 {
            out.extend_from_slice(device.as_bytes());
            leb128::write(&mut out, n);
        }
        out
    }

    /// Reads [`encode`](Self::encode)'s form; only the one canonical form of a vector is taken.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, VersionError> {
        let count = leb128::read(&mut bytes).ok_or(VersionError::Length)?;
        if count > VECTOR_DEVICES_MAX as u64 {
            return Err(VersionError::TooManyDevices);
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (device, rest) = bytes.split_at_checked(16).ok_or(VersionError::Length)?;
            bytes = rest;
            let device = DeviceId::from_slice(device).map_err(|_| VersionError::Length)?;
            let n = leb128::read(&mut bytes).ok_or(VersionError::Length)?;
            if n == 0 || entries.last_key_value().is_some_and(|(&last, _)| last >= device) {
                return Err(VersionError::NotCanonical);
            }
            entries.insert(device, n);
        }
        if bytes.is_empty() { Ok(Self(entries)) } else { Err(VersionError::Length) }
    }
}

impl PartialOrd for VersionVector {
    /// `None` where each has something that the other lacks.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (other.missing(self).is_empty(), self.missing(other).is_empty()) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}

impl FromIterator<(DeviceId, u64)> for VersionVector {
    fn from_iter<T: IntoIterator<Item = (DeviceId, u64)>>(entries: T) -> Self {
        let mut vector = Self::default();
        for (device, n) in entries {
            vector.advance(device, n);
        }
        vector
    }
}

/// A version vector with each feed's chain value, as replicas exchange it: a fork shows at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedHeads(BTreeMap<DeviceId, FeedHead>);

impl FeedHeads {
    /// The place in that device's feed, if anything of it is here.
    pub fn get(&self, device: DeviceId) -> Option<FeedHead> {
        self.0.get(&device).copied()
    }

    /// Sets the place in a device's feed.
    pub fn set(&mut self, device: DeviceId, head: FeedHead) {
        self.0.insert(device, head);
    }

    /// Without the chain values.
    pub fn vector(&self) -> VersionVector {
        self.0.iter().map(|(&device, head)| (device, head.n)).collect()
    }

    /// Devices whose feeds stand at the same `n` in both, with different chains.
    pub fn forks(&self, other: &Self) -> Vec<DeviceId> {
        let forked = self.0.iter().filter(|(device, head)| {
            other.0.get(device).is_some_and(|theirs| theirs.n == head.n && theirs.chain != head.chain)
        });
        forked.map(|(&device, _)| device).collect()
    }

    /// Devices and the places in their feeds, ascending by device.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, FeedHead)> + '_ {
        self.0.iter().map(|(&device, &head)| (device, head))
    }
}

impl FromIterator<(DeviceId, FeedHead)> for FeedHeads {
    fn from_iter<T: IntoIterator<Item = (DeviceId, FeedHead)>>(entries: T) -> Self {
        Self(entries.into_iter().collect())
    }
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = FeedHeadOfDevice))]
/// How far the feed of a device has come.
pub(crate) struct FeedHeadRow {
    device: DeviceId,
    n: u64,
    chain: Hash,
}

impl Serialize for FeedHeads {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(device, head)| FeedHeadRow { device, n: head.n, chain: head.chain }))
    }
}

impl<'de> Deserialize<'de> for FeedHeads {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<FeedHeadRow>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| (row.device, FeedHead { n: row.n, chain: row.chain })).collect())
    }
}
