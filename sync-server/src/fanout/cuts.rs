//! Who was cut off, and which spaces were deleted, as the database has it: what the bus did not tell is found out within a
//! second, however the bus is doing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sync_core::id::SpaceId;
use tokio::time::{sleep, timeout};

use super::Fanout;
use crate::clock::Clock;
use crate::random::jittered;
use crate::store::StoreError;
use crate::store::devices::Cut;
use crate::store::registry::Registry;

/// How often it is asked: two looks into small indexes, whatever the number of connections.
const PERIOD: Duration = Duration::from_millis(500);
/// How far back each time: clocks of nodes differ by seconds, and what is written takes a moment until it is seen.
const OVERLAP_MS: u64 = 10_000;
/// Where there are more, everybody is looked up.
const CUTS_MAX: u32 = 1_024;
/// A database that takes longer is away.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Asks again and again who was cut off. Never ends.
pub(crate) async fn watch(fanout: Arc<Fanout>, registry: Arc<dyn Registry>, clock: Clock) {
    let mut asked_ms = clock.now_ms();
    let (mut known, mut gone) = (BTreeSet::new(), BTreeSet::new());
    let mut is_away = false;
    loop {
        sleep(jittered(PERIOD)).await;
        let now_ms = clock.now_ms();
        // From the last time on that there was an answer, so that an outage hides nothing.
        let since_ms = now_ms.min(asked_ms).saturating_sub(OVERLAP_MS);
        let asked = async {
            let cuts = registry.cut_since(since_ms, CUTS_MAX).await?;
            Ok::<_, StoreError>((cuts, registry.spaces_deleted_since(since_ms, CUTS_MAX).await?))
        };
        let answer = timeout(ANSWER_MAX, asked).await;
        match answer
            .map_err(|_| "no answer in time".to_owned())
            .and_then(|answer| answer.map_err(|error| error.to_string()))
        {
            Ok((cuts, deleted)) => {
                asked_ms = now_ms;
                is_away = false;
                known = fanout.learn_cuts(cuts, &known);
                gone = fanout.learn_deleted(deleted, &gone);
            }
            Err(_) if is_away => {}
            Err(error) => {
                is_away = true;
                tracing::warn!(error, "who was cut off cannot be asked; nobody new is let in meanwhile");
            }
        }
    }
}

impl Fanout {
    /// Has looked up what is left of those that were not known to be cut off. Gives back whom the database told of.
    fn learn_cuts(&self, cuts: Vec<Cut>, known: &BTreeSet<Cut>) -> BTreeSet<Cut> {
        if cuts.len() >= CUTS_MAX as usize {
            self.cut_any();
        } else {
            for cut in cuts.iter().filter(|cut| !known.contains(cut)) {
                self.cut(&cut.user, Some(cut.device));
            }
        }
        cuts.into_iter().collect()
    }

    /// Has those look up what they may do who follow a space that was not known to be deleted. Gives back which were.
    fn learn_deleted(&self, deleted: Vec<SpaceId>, known: &BTreeSet<SpaceId>) -> BTreeSet<SpaceId> {
        deleted.iter().filter(|space| !known.contains(space)).for_each(|space| self.doubt_in(*space));
        deleted.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use sync_core::id::DeviceId;

    use super::super::mailbox::{Doubt, Mailbox};
    use super::*;
    use crate::bus::memory::MemoryBus;

    fn cut(at_ms: u64, device: u8) -> Cut {
        Cut { at_ms, user: "ann".to_owned(), device: DeviceId::from_bytes([device; 16]) }
    }

    fn told(mailbox: &Mailbox) -> bool {
        mailbox.doubted().now_or_never() == Some(Doubt::Told)
    }

    #[test]
    fn each_is_looked_up_once_and_all_where_there_are_too_many_to_tell() {
        let fanout = Fanout::new(Arc::new(MemoryBus::new()), Arc::default());
        let connections: Vec<_> = [1, 2].map(|device| Arc::new(Mailbox::new("ann", cut(0, device).device))).into();
        for (number, mailbox) in connections.iter().enumerate() {
            fanout.enter(number as u64, mailbox);
            assert_eq!(mailbox.doubted().now_or_never(), Some(Doubt::Device), "it may have been cut off unheard");
        }
        let looked_up = || [told(&connections[0]), told(&connections[1])];
        let known = fanout.learn_cuts(vec![cut(5, 1)], &BTreeSet::new());
        assert_eq!(looked_up(), [true, false]);
        let known = fanout.learn_cuts(vec![cut(5, 1)], &known);
        assert_eq!(looked_up(), [false, false], "it is known");
        let known = fanout.learn_cuts(vec![cut(9, 1), cut(6, 2), cut(5, 1)], &known);
        assert_eq!(looked_up(), [true, true], "a later one is another");
        let many = (0..u64::from(CUTS_MAX)).map(|at_ms| cut(at_ms, 9)).collect();
        fanout.learn_cuts(many, &known);
        assert_eq!(looked_up(), [true, true], "perhaps one of them");
        fanout.exit(0, &connections[0]);
        fanout.learn_cuts(vec![cut(20, 1)], &BTreeSet::new());
        assert_eq!(looked_up(), [false, false]);
    }
}
