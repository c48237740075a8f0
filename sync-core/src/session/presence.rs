//! What the user shows to others: told when it changes, told again before it runs out.

use super::link::Shown;
use super::{Effect, Follow, Session};
use crate::id::SpaceId;
use crate::wire::LiveRequest;
use serde_bytes::ByteBuf;

use super::event::Presence;

impl Shown {
    /// When the server has to be told, if it has to be at all.
    fn due_at_ms(&self) -> Option<u64> {
        match (&self.presence, self.told_at_ms) {
            (_, None) => Some(0),
            // Twice within its life, so that one lost message is no absence.
            (Some(presence), Some(told_at_ms)) => Some(told_at_ms + u64::from(presence.ttl_ms / 2).max(1)),
            (None, Some(_)) => None,
        }
    }
}

impl Session {
    pub(super) fn present(&mut self, space: SpaceId, presence: Option<Presence>) {
        if self.spaces.contains_key(&space) && (presence.is_some() || self.shown.contains_key(&space)) {
            self.shown.insert(space, Shown { presence, told_at_ms: None });
        }
    }

    /// Tells the server of one space, no more often than it allows.
    pub(super) fn pump_presence(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let due = self.next_presence().filter(|(at_ms, _)| *at_ms <= now_ms);
        let (Some((_, space)), Some(open)) = (due, self.link.open()) else { return };
        let (link, ttl_max, next_at_ms) =
            (self.link.number, open.limits.presence_ttl_ms_max, open.presence_interval_ms());
        let Some(shown) = self.shown.get_mut(&space) else { return };
        shown.told_at_ms = Some(now_ms);
        let ttl_ms = shown.presence.as_ref().map_or(0, |presence| presence.ttl_ms);
        let ttl_ms = u32::try_from(u64::from(ttl_ms).min(ttl_max)).unwrap_or(u32::MAX);
        let data = shown.presence.as_ref().map(|presence| ByteBuf::from(presence.data.clone()));
        if data.is_none() {
            self.shown.remove(&space);
        }
        if let Some(open) = self.link.open_mut(link) {
            open.presence_at_ms = now_ms + next_at_ms;
        }
        self.say(link, LiveRequest::Presence { space, data, ttl_ms }, now_ms, effects);
    }

    pub(super) fn presence_wakes_at_ms(&self) -> Option<u64> {
        self.next_presence().map(|(at_ms, _)| at_ms)
    }

    fn next_presence(&self) -> Option<(u64, SpaceId)> {
        let open = self.link.open()?;
        let followed =
            |space: &SpaceId| self.spaces.get(space).is_some_and(|state| matches!(state.follow, Follow::Yes { .. }));
        let told = self.shown.iter().filter(|(space, _)| followed(space));
        let due = told.filter_map(|(space, shown)| Some((shown.due_at_ms()?.max(open.presence_at_ms), *space)));
        due.min()
    }
}
