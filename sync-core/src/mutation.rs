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
    fault("journal-lost-at-seal", "sealing closes the journal and leaves one change out of the feed"),
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
#[inline(always)]
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
