//! A server that lost the newest entries of a space: they are handed back by plain requests, then reading goes on.

use super::answer::Trouble;
use super::effect::Effect;
use super::event::{Failure, HealStep, HealWork};
use super::{Session, Step, Way};
use crate::id::SpaceId;
use crate::limits::HEALS_IN_A_ROW_MAX;
use crate::wire::{ErrorCode, HealResponse};

impl Session {
    /// The server does not know the place in its log that this device has.
    pub(super) fn diverged(&mut self, space: SpaceId, effects: &mut Vec<Effect>) {
        // It takes whole pages, which a budget in bytes was not given for: the next exchange without one does it.
        let counted = self.window.as_ref().is_some_and(super::window::Remaining::is_counted);
        let Some(state) = self.spaces.get_mut(&space) else { return };
        state.heals += 1;
        if counted || state.heals > HEALS_IN_A_ROW_MAX {
            state.trouble = Some(Trouble::ServerLostData);
            return;
        }
        self.heal(space, HealWork::Begin, effects);
    }

    fn heal(&mut self, space: SpaceId, work: HealWork, effects: &mut Vec<Effect>) {
        self.step = Step::Healing(space, None);
        effects.push(Effect::Heal { space, work, bytes_max: self.batch_bytes });
    }

    /// What is to be done next.
    pub(super) fn heal_step(
        &mut self,
        space: SpaceId,
        next: HealStep,
        now_ms: u64,
        random: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        if self.step != Step::Healing(space, None) {
            return;
        }
        self.step = Step::Resting;
        let Some(state) = self.spaces.get_mut(&space) else { return };
        match next {
            HealStep::Ask(request) => {
                self.requests += 1;
                self.step = Step::Healing(space, Some(self.requests));
                let patience_ms = self.window.as_ref().map(|window| window.patience_ms(now_ms));
                effects.push(Effect::Ask { id: self.requests, request, patience_ms });
            }
            HealStep::Done { at } => {
                (state.at, state.again, state.version_known) = (at, true, false);
                state.due_at_ms = now_ms;
                self.follow_anew(space, now_ms);
            }
            HealStep::Failed => {
                state.heals = state.heals.saturating_sub(1);
                state.not_before_ms = now_ms + state.backoff.next(None, random);
                state.due_at_ms = state.due_at_ms.min(now_ms);
                self.follow_anew(space, now_ms);
            }
        }
    }

    /// What the server said to it.
    pub(super) fn heal_answered(
        &mut self,
        request: u64,
        answer: Result<Box<HealResponse>, Failure>,
        now_ms: u64,
        random: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let Step::Healing(space, Some(expected)) = self.step else { return };
        if expected != request {
            return;
        }
        self.step = Step::Resting;
        match answer {
            Ok(response) => {
                self.backoff.reset();
                self.heal(space, HealWork::Answer(response), effects);
            }
            Err(Failure::Refused { code: ErrorCode::ReceiptRefused, .. }) => {
                self.heal(space, HealWork::ReceiptRefused, effects);
            }
            // A server of before, which has no such route. Whether the user may enter, the next exchange tells.
            Err(Failure::Refused { code: ErrorCode::NotFound | ErrorCode::MethodNotAllowed, .. }) => {
                self.trouble_in(space, Trouble::ServerLostData);
            }
            Err(failure) => {
                // What broke off has healed nothing, and says nothing of the server.
                if let Some(state) = self.spaces.get_mut(&space) {
                    state.heals = state.heals.saturating_sub(1);
                }
                self.follow_anew(space, now_ms);
                self.failed(space, failure, Way::Request, now_ms, random, effects);
            }
        }
    }
}
