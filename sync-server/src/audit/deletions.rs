//! Deletions of documents: they are part of the log of their space, and of the audit log too, where people look for them. They
//! are found while a group of pushes is committed, and nobody waits for them.

use std::collections::BTreeMap;
use std::fmt::Write;

use sync_core::check::Push;
use sync_core::feed::ItemKind;
use sync_core::id::{DeviceId, DocId, SpaceId};
use sync_core::ledger::NewEntry;
use sync_core::log::Verdict;

use super::keeper::Keeper;
use super::{Event, Kind};

/// Documents that one event names. The log of the space has the others: who deletes thousands at once is one event, not thousands.
const NAMED_MAX: usize = 8;

/// Who deletes anything in a group of pushes.
#[derive(Default)]
pub(crate) struct Deletions {
    users: BTreeMap<DeviceId, String>,
}

impl Deletions {
    /// Before the group is committed.
    pub(crate) fn of(pushes: &[Push]) -> Self {
        let deleting = pushes.iter().filter(|push| {
            let mut kinds = push.candidates.iter().map(|candidate| candidate.kind);
            kinds.any(|kind| kind == ItemKind::Delete)
        });
        Self { users: deleting.map(|push| (push.device, push.user.clone())).collect() }
    }

    /// After it was: those that took effect, an event for each device.
    pub(crate) fn keep(self, space: SpaceId, entries: &[NewEntry], keeper: &Keeper) {
        for (device, user) in self.users {
            let deleted = entries.iter().map(|entry| &entry.header).filter(|header| {
                header.kind == ItemKind::Delete && header.verdict == Verdict::Applied && header.id.device == device
            });
            let documents: Vec<DocId> = deleted.map(|header| header.doc).collect();
            if documents.is_empty() {
                continue;
            }
            let detail = Some(describe(&documents));
            let (device, space) = (Some(device), Some(space));
            keeper.keep_soon(Event { kind: Kind::DocumentDeleted, user: &user, device, space, detail });
        }
    }
}

fn describe(documents: &[DocId]) -> String {
    let mut text = String::new();
    for (at, document) in documents.iter().take(NAMED_MAX).enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}{document}", if at == 0 { "" } else { " " });
    }
    if documents.len() > NAMED_MAX {
        let _ = write!(text, " and {} more", documents.len() - NAMED_MAX);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_counted() {
        let document = |at: u8| DocId::from_bytes([at; 16]);
        let one = describe(&[document(1)]);
        assert_eq!(one, document(1).to_string());
        let many: Vec<DocId> = (0..200).map(document).collect();
        let text = describe(&many);
        assert!(text.starts_with(&document(0).to_string()) && text.ends_with(" and 192 more"), "{text}");
        assert!(text.len() <= super::super::DETAIL_BYTES_MAX);
    }
}
