//! Handing back what a server lost, step by step.

use std::sync::Arc;

use sync_core::heal::{Healed, Next};
use sync_core::id::SpaceId;
use sync_core::session::{Event, HealStep, HealWork};

use super::drive::Runner;
use crate::client::error::ClientError;
use crate::client::{Shared, lock};

impl Runner {
    /// Does the next step.
    pub(super) fn heal(&mut self, shared: &Arc<Shared>, space: SpaceId, work: HealWork, bytes_max: usize) -> Event {
        let step = self.heal_step(shared, space, work, bytes_max).unwrap_or_else(|error| {
            tracing::error!(%error, %space, "what the server lost could not be handed back");
            self.healing = None;
            HealStep::Failed
        });
        Event::Heal(space, step)
    }

    fn heal_step(
        &mut self,
        shared: &Arc<Shared>,
        space: SpaceId,
        work: HealWork,
        bytes_max: usize,
    ) -> Result<HealStep, ClientError> {
        if work == HealWork::Begin {
            tracing::warn!(%space, "the server has lost the newest entries of the log");
            let healing = lock(&shared.engine).heal_begin(space, bytes_max)?;
            let request = healing.hand_back.begin();
            self.healing = Some(healing);
            return Ok(HealStep::Ask(Box::new(request)));
        }
        let healing = self.healing.as_mut().filter(|healing| healing.log.space == space).ok_or(ClientError::NoSpace)?;
        let next = match work {
            // The entries are read without the engine's lock: an edit does not wait for them.
            HealWork::Answer(answer) => healing.hand_back.next(&answer, &healing.log)?,
            HealWork::ReceiptRefused | HealWork::Begin => {
                tracing::warn!(%space, "the server does not know its receipt: what it lost of others stays here");
                Next::Done(healing.hand_back.unproven())
            }
        };
        match next {
            Next::Ask(request) => Ok(HealStep::Ask(request)),
            Next::Done(healed) => self.healed(shared, space, &healed),
        }
    }

    fn healed(&mut self, shared: &Arc<Shared>, space: SpaceId, healed: &Healed) -> Result<HealStep, ClientError> {
        let healing = self.healing.take().ok_or(ClientError::NoSpace)?;
        let at = lock(&shared.engine).heal_end(space, &healing, healed)?;
        tracing::info!(%space, handed = healed.handed, at, "the log is as the server has it");
        self.progress = true;
        shared.arrived.notify_all();
        Ok(HealStep::Done { at })
    }
}
