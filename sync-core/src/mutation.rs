//! Deliberate faults of the engine, for a simulation that has to find them. Without the feature `mutations` there are none: the
//! question is answered `false` when this is compiled.

/// A fault that can be chosen, and what it does.
pub struct Mutation {
    /// By which it is chosen.
    pub name: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

const fn fault(name: &'static str, what: &'static str) -> Mutation {
    Mutation { name, what }
}

/// Every fault there is.
pub const ALL: &[Mutation] = &[
    fault("answer-before-commit", "a push is answered as taken although its commit failed"),
    fault("chain-unchecked", "a run joins a feed whatever its chain"),
    fault("duplicates-taken", "what the log holds already is added to it again"),
    fault("deleted-takes-edits", "a deleted document takes edits"),
    fault("role-unasked", "readers may write"),
    fault("forged-actor-taken", "a change may be in another device's name"),
    fault("nothing-handed-back", "a phone does not hand back what the server lost"),
    fault("pulled-not-compared", "what is written anew after a rollback is not compared with what was pulled"),
    fault("remade-without-the-last", "a change that is written anew loses its last operation"),
    fault("edit-not-journaled", "every fourth edit of a document is not written to the journal"),
    fault("journal-lost-at-seal", "sealing closes the journal, and now and then leaves the change out of the feed"),
    fault("sealed-in-two-steps", "the journal is closed in one transaction, and the feed goes on in the next"),
    fault("shows-what-the-disk-refused", "an edit that the disk did not take stays in the document"),
    fault("edit-joins-an-earlier-change", "an edit joins an open journal in front of what it was made upon"),
    fault("journals-sealed-backwards", "journals are sealed in the reverse of their order"),
    fault("page-chain-unchecked", "a page is taken whatever its chain"),
    fault("entry-not-stored", "the cursor moves on over an entry that is not stored"),
    fault("refusal-without-effect", "a phone is told of a refusal, and leaves its document as it is"),
    fault("rebuild-forgotten", "a document is not made anew without what was refused"),
    fault("loss-of-own-unseen", "a phone does not see that the server lost what it had pushed"),
    fault("actor-kept", "after a refusal the same actor goes on"),
    fault("kept-after-offer", "what was offered again stays in quarantine whole"),
    fault("unsent-lost-when-rolled-back", "a phone that was rolled back forgets what it had not sent"),
    fault("device-kept-when-rolled-back", "a phone that was rolled back keeps its device id"),
    fault("acknowledged-kept-after-loss", "what the server lost counts as acknowledged on"),
    fault("merge-passes-over-the-last", "an open document does not take in the last of what arrived"),
    fault("shown-with-holes", "a space is shown while snapshots are missing"),
    fault("refused-sent-again", "what was taken out of a document is sent once more, and not as void"),
    fault("cursor-unchecked", "the server does not compare a cursor with its log"),
    fault("page-off-by-one", "a page now and then begins one entry too late"),
    fault("deletion-not-kept", "a deletion is in the log and not with the document"),
    fault("actor-not-moved-on", "the last change of an actor is not always noted"),
    fault("payload-not-kept", "now and then a change's bytes are not stored"),
    fault("answers-swapped", "pushes of one group get each other's answers"),
    fault("drops-what-no-snapshot-covers", "payloads are dropped up to the horizon, and not up to the snapshot"),
    fault("full-queue-loses-pages", "a live connection whose queue was full goes on behind what was dropped"),
    fault("notice-without-its-chain", "a live page is taken for one that continues what was sent"),
    fault("snapshot-lacks-the-newest", "a snapshot lacks the newest change, and nobody compares its heads"),
];

#[cfg(feature = "mutations")]
mod chosen {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static CHOSEN: AtomicUsize = AtomicUsize::new(0);

    /// Chooses the fault that the whole process has from now on, or none. `false` if there is none of that name.
    pub fn choose(name: Option<&str>) -> bool {
        let at = name.map_or(Some(0), |name| super::ALL.iter().position(|fault| fault.name == name).map(|at| at + 1));
        CHOSEN.store(at.unwrap_or(0), Ordering::Relaxed);
        at.is_some()
    }

    /// Whether that fault was chosen.
    pub fn is_chosen(name: &str) -> bool {
        match CHOSEN.load(Ordering::Relaxed) {
            0 => false,
            at => super::ALL[at - 1].name == name,
        }
    }
}

#[cfg(feature = "mutations")]
pub use chosen::{choose, is_chosen};

/// Whether that fault was chosen.
#[cfg(not(feature = "mutations"))]
#[inline]
pub const fn is_chosen(_name: &str) -> bool {
    false
}

/// Whether the engine is to be wrong in that way.
#[macro_export]
macro_rules! mutation {
    ($name:literal) => {
        $crate::mutation::is_chosen($name)
    };
}
