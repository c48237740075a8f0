//! Which facts deciding needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{Candidate, Checked, Push};
use crate::feed::ItemKind;
use crate::graft::Grafts;
use crate::id::{Actor, DeviceId, DocId, Hash};

/// The keys of all facts that a group of pushes may touch; each list is sorted and free of duplicates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Members whose role is asked for.
    pub users: BTreeSet<String>,
    /// Feeds.
    pub devices: BTreeSet<DeviceId>,
    /// Documents.
    pub documents: BTreeSet<DocId>,
    /// Actors in documents.
    pub actors: BTreeSet<(DocId, Actor)>,
    /// Changes that are depended upon.
    pub dependencies: BTreeSet<(DocId, Hash)>,
    /// Changes that are to be excluded: of those, and of the changes of their documents behind them, the bytes.
    pub exclusions: BTreeSet<(DocId, Hash)>,
    /// Documents that are to begin anew, the place in the log at which that was made, by whom, and since when devices count
    /// as active.
    pub epochs: BTreeMap<(DocId, u64, DeviceId), u64>,
}

impl Wanted {
    /// What these pushes need.
    pub fn of(pushes: &[Push]) -> Self {
        let mut wanted = Self::default();
        for push in pushes {
            wanted.users.insert(push.user.clone());
            wanted.devices.insert(push.device);
            for candidate in &push.candidates {
                wanted.add(candidate);
                if let Checked::Epoch(facts, _) = &candidate.checked {
                    wanted.epochs.insert((candidate.doc, facts.through, push.device), push.active_since_ms);
                }
            }
        }
        wanted
    }

    /// Adds under which hashes dependencies were sealed that stand under other ones, in documents of which something was
    /// excluded: a log knows those alone.
    pub fn see_through(&mut self, grafts: &BTreeMap<DocId, Grafts>) {
        let through = |(doc, hash): &(DocId, Hash)| Some((*doc, grafts.get(doc)?.sealed(*hash)));
        let sealed: Vec<(DocId, Hash)> = self.dependencies.iter().filter_map(through).collect();
        self.dependencies.extend(sealed);
    }

    pub(crate) fn add(&mut self, candidate: &Candidate) {
        self.documents.insert(candidate.doc);
        if candidate.kind == ItemKind::Exclude {
            self.dependencies.insert((candidate.doc, candidate.hash));
            self.exclusions.insert((candidate.doc, candidate.hash));
        }
        if let Checked::Change(facts, _) | Checked::Unwanted(facts, _) = &candidate.checked {
            let named = facts.others.iter().chain([&facts.actor]);
            self.actors.extend(named.map(|&actor| (candidate.doc, actor)));
            self.dependencies.extend(facts.deps.iter().map(|&dep| (candidate.doc, dep)));
            // Several devices may bring the same one.
            if facts.actor.is_structure() {
                self.dependencies.insert((candidate.doc, candidate.hash));
            }
        }
    }
}
