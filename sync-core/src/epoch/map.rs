//! Which ids of an epoch became which ids of the next.

use std::collections::BTreeMap;

use automerge::ActorId;
use automerge::legacy::OpId;

use crate::id::Actor;
use crate::leb128;
use crate::limits::{ACTOR_BYTES, EPOCH_OPERATIONS_MAX};

/// Ids that lie beside each other on both sides, as one stretch: what was typed in one go takes a few bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map {
    /// Who wrote what there is now.
    now: Option<Actor>,
    /// By the author before and the first counter: the counter that this became, and how many follow it.
    stretches: BTreeMap<Actor, BTreeMap<u64, (u64, u64)>>,
}

impl Map {
    /// A map into what `now` wrote.
    pub(super) fn into(now: Actor) -> Self {
        Self { now: Some(now), stretches: BTreeMap::new() }
    }

    /// Adds an id. One that is there already stays.
    pub(super) fn add(&mut self, before: (Actor, u64), now: u64) {
        let of = self.stretches.entry(before.0).or_default();
        if let Some((&start, (at, count))) = of.range_mut(..=before.1).next_back() {
            if before.1 < start + *count {
                return;
            }
            if before.1 == start + *count && now == *at + *count {
                *count += 1;
                return;
            }
        }
        of.insert(before.1, (now, 1));
    }

    /// What became of an id; `None` if it was gone before.
    pub fn get(&self, id: &OpId) -> Option<OpId> {
        let actor = Actor::from_slice(id.actor().to_bytes()).ok()?;
        let counter = self.counter(actor, id.counter())?;
        Some(OpId::new(counter, &ActorId::from(self.now?)))
    }

    fn counter(&self, actor: Actor, counter: u64) -> Option<u64> {
        let (start, (at, count)) = self.stretches.get(&actor)?.range(..=counter).next_back()?;
        let offset = counter - start;
        (offset < *count).then(|| at + offset)
    }

    /// Whether all that it leads to is among so many operations of that actor.
    pub(super) fn is_into(&self, now: Actor, operations: u64) -> bool {
        let mut stretches = self.stretches.values().flat_map(BTreeMap::values);
        self.now == Some(now) && stretches.all(|(at, count)| *at > 0 && at + count <= operations + 1)
    }

    /// This one, and then the next.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        let mut both = Self { now: next.now, stretches: BTreeMap::new() };
        let Some(between) = self.now else { return both };
        for (actor, stretches) in &self.stretches {
            for (start, (at, count)) in stretches {
                for offset in 0..*count {
                    if let Some(now) = next.counter(between, at + offset) {
                        both.add((*actor, start + offset), now);
                    }
                }
            }
        }
        both
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let nobody = [0; ACTOR_BYTES];
        out.extend_from_slice(self.now.as_ref().map_or(&nobody, Actor::as_bytes).as_slice());
        leb128::write(out, self.stretches.len() as u64);
        for (actor, stretches) in &self.stretches {
            out.extend_from_slice(actor.as_bytes());
            leb128::write(out, stretches.len() as u64);
            let (mut end, mut last) = (0, 0);
            for (start, (at, count)) in stretches {
                leb128::write(out, start - end);
                leb128::write(out, *count);
                // Signed, as what was typed later may stand further in front.
                let step = (*at as i64).wrapping_sub(last);
                leb128::write(out, ((step << 1) ^ (step >> 63)) as u64);
                (end, last) = (start + count, *at as i64 + *count as i64);
            }
        }
    }

    /// `None` if that is none, if it leads to more than an epoch has, or if something follows it.
    pub(super) fn decode(input: &mut &[u8]) -> Option<Self> {
        let (now, rest) = input.split_at_checked(ACTOR_BYTES)?;
        *input = rest;
        let mut map = Self { now: Some(Actor::from_slice(now).ok()?), stretches: BTreeMap::new() };
        let mut total = 0u64;
        for _ in 0..leb128::read(input)? {
            let (actor, rest) = input.split_at_checked(ACTOR_BYTES)?;
            *input = rest;
            let mut stretches = BTreeMap::new();
            let (mut end, mut last) = (0u64, 0i64);
            for _ in 0..leb128::read(input)? {
                let start = end.checked_add(leb128::read(input)?)?;
                let count = leb128::read(input)?;
                total = total.checked_add(count).filter(|total| *total <= EPOCH_OPERATIONS_MAX)?;
                let step = leb128::read(input)?;
                let step = ((step >> 1) as i64) ^ -((step & 1) as i64);
                let at = u64::try_from(last.checked_add(step)?).ok()?;
                end = start.checked_add(count)?;
                last = i64::try_from(at.checked_add(count)?).ok()?;
                stretches.insert(start, (at, count));
            }
            map.stretches.insert(Actor::from_slice(actor).ok()?, stretches);
        }
        input.is_empty().then_some(map)
    }
}
