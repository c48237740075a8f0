//! What a connection shows of itself: at most so often, and nothing after it has left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_bytes::ByteBuf;
use sync_core::id::SpaceId;
use sync_core::limits::{PRESENCE_BYTES_MAX, PRESENCE_PER_SECOND_MAX, PRESENCE_TTL_MAX_MS};

use super::session::Session;
use super::users::Bucket;
use crate::bus::Presence;

/// What one connection shows.
pub(super) struct Showing {
    messages: Bucket,
    /// Where it shows itself.
    spaces: BTreeSet<SpaceId>,
    /// The newest of what came too soon, for each space.
    late: BTreeMap<SpaceId, (ByteBuf, u32)>,
}

impl Default for Showing {
    fn default() -> Self {
        let messages = Bucket::new(PRESENCE_PER_SECOND_MAX, PRESENCE_PER_SECOND_MAX, Instant::now());
        Self { messages, spaces: BTreeSet::new(), late: BTreeMap::new() }
    }
}

impl Showing {
    /// When what came too soon may be shown.
    pub(super) fn late_at(&self) -> Option<Instant> {
        (!self.late.is_empty()).then(|| self.messages.next_at())
    }
}

impl Session {
    /// Shows something in a space, or leaves it. What is too large, or of a space that is not followed (any more), is dropped.
    pub(super) fn present(&self, space: SpaceId, data: Option<ByteBuf>, ttl_ms: u32) {
        let Some(data) = data else { return self.vanish(space) };
        if data.len() > PRESENCE_BYTES_MAX || !self.mailbox.follows(space) {
            return;
        }
        let data = self.showing(|showing| {
            if showing.messages.take(Instant::now()) {
                showing.late.remove(&space);
                showing.spaces.insert(space);
                return Some(data);
            }
            showing.late.insert(space, (data, ttl_ms));
            None
        });
        if data.is_some() {
            self.say(space, data, ttl_ms);
        }
    }

    /// Shows what came too soon before, as far as it may by now.
    pub(super) fn present_late(&self) {
        let due = |showing: &mut Showing| {
            let entry = showing.late.first_entry()?;
            if !showing.messages.take(Instant::now()) {
                return None;
            }
            showing.spaces.insert(*entry.key());
            Some(entry.remove_entry())
        };
        while let Some((space, (data, ttl_ms))) = self.showing(due) {
            self.say(space, Some(data), ttl_ms);
        }
    }

    /// Shows nothing in a space any more.
    pub(super) fn vanish(&self, space: SpaceId) {
        let was_shown = self.showing(|showing| {
            showing.late.remove(&space);
            showing.spaces.remove(&space)
        });
        if was_shown {
            self.say(space, None, 0);
        }
    }

    fn say(&self, space: SpaceId, data: Option<ByteBuf>, ttl_ms: u32) {
        let ttl_ms = u64::from(ttl_ms).min(PRESENCE_TTL_MAX_MS) as u32;
        let (user, device) = (self.caller.user.clone(), self.caller.device);
        self.app.live.fanout.show(Presence { space, session: self.number, user, device, data, ttl_ms });
    }
}
