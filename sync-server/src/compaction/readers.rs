//! How far devices have read, as far as the horizon needs it: kept in memory and written down now and then.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sync_core::id::{DeviceId, SpaceId};

use crate::store::snapshots::Reader;

/// Devices in spaces that are remembered between two times; those beyond are noted when they come again. It only keeps
/// payloads a while longer, or has a device take a snapshot instead.
const READERS_MAX: usize = 65_536;

/// Where devices are.
#[derive(Default)]
pub(crate) struct Readers(Mutex<BTreeMap<(SpaceId, DeviceId), (u64, u64)>>);

impl Readers {
    /// A device has everything up to there.
    pub(crate) fn note(&self, space: SpaceId, device: DeviceId, seq: u64, now_ms: u64) {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_MAX || readers.contains_key(&(space, device)) {
            readers.insert((space, device), (seq, now_ms));
        }
    }

    /// What was noted since this was last called.
    pub(super) fn take(&self) -> Vec<Reader> {
        let readers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let reader = |((space, device), (seq, seen_ms))| Reader { space, device, seq, seen_ms };
        readers.into_iter().map(reader).collect()
    }
}
