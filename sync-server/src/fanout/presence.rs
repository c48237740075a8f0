//! Who shows itself in a space: in memory alone, for a time, and only so many.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_core::id::DeviceId;
use sync_core::limits::{PRESENCE_BYTES_MAX, PRESENCE_PEERS_MAX, PRESENCE_TTL_MAX_MS};
use sync_core::wire::Peer;

use crate::bus::Presence;

/// What it takes in memory besides its data, about.
const SHOWN_BYTES: usize = 192;

/// What somebody shows, or that it has left.
#[derive(Debug)]
pub(crate) struct Shown {
    presence: Presence,
    until: Instant,
}

impl Shown {
    fn new(presence: Presence, now: Instant) -> Self {
        let ttl = u64::from(presence.ttl_ms).min(PRESENCE_TTL_MAX_MS);
        Self { presence, until: now + Duration::from_millis(ttl) }
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.presence.device
    }

    pub(crate) fn bytes(&self) -> usize {
        let data = self.presence.data.as_ref().map_or(0, |data| data.len());
        SHOWN_BYTES + self.presence.user.len() + data
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// As receivers are told: what is over has left.
    pub(crate) fn peer(&self, now: Instant) -> Peer {
        let Presence { user, device, data, .. } = &self.presence;
        let left_ms = self.until.saturating_duration_since(now).as_millis() as u32;
        let data = if left_ms == 0 { None } else { data.clone() };
        let ttl_ms = if data.is_some() { left_ms } else { 0 };
        Peer { user: user.clone(), device: *device, data, ttl_ms }
    }
}

/// Everybody in one space, one a device.
#[derive(Default)]
pub(super) struct Peers(BTreeMap<DeviceId, Arc<Shown>>);

impl Peers {
    /// Takes what somebody shows; `None` where it changes nothing for others.
    pub(super) fn hear(&mut self, presence: Presence, now: Instant) -> Option<Arc<Shown>> {
        let device = presence.device;
        if presence.data.is_none() {
            // Who has connected anew is not sent away by the end of its old connection.
            let known = self.0.get(&device)?;
            if known.presence.session != presence.session {
                return None;
            }
            self.0.remove(&device);
            return Some(Arc::new(Shown::new(presence, now)));
        }
        let large = presence.data.as_ref().is_some_and(|data| data.len() > PRESENCE_BYTES_MAX);
        if large || (!self.0.contains_key(&device) && !self.has_room(now)) {
            return None;
        }
        let shown = Arc::new(Shown::new(presence, now));
        self.0.insert(device, Arc::clone(&shown));
        Some(shown)
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.0.len() >= PRESENCE_PEERS_MAX {
            self.sweep(now);
        }
        self.0.len() < PRESENCE_PEERS_MAX
    }

    /// Forgets who has not been heard of in its time.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, shown| !shown.is_over(now));
    }

    /// Who is there.
    pub(super) fn all(&self, now: Instant) -> impl Iterator<Item = &Arc<Shown>> {
        self.0.values().filter(move |shown| !shown.is_over(now))
    }
}
