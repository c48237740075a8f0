//! Whether the promises hold: after a start, when one looks, and when everything has come to rest.

use std::collections::BTreeMap;

use sync_client_ffi::{ClientError, DocId, Hash};
use sync_core::quarantine::describe;

use super::model::{Made, tag};
use super::seen::{Seen, docs};
use super::{Checked, World, broken};

/// What two phones with everything must agree on.
type Whole = (Vec<Hash>, Option<String>, Vec<u8>);

impl World {
    /// Promise 1: what a call has returned for is on the phone's disk.
    pub(super) fn holds_its_own(&mut self, at: usize) -> Checked {
        let (now_ms, space) = (self.now_ms, self.space);
        let kept = self.kept_by(at);
        let mut seen: BTreeMap<DocId, Option<Seen>> = BTreeMap::new();
        for (number, mark) in self.model.marks.iter().enumerate() {
            let (doc, parts) = (mark.doc, mark.parts);
            let visible = parts.list || parts.text || parts.key;
            if self.model.is_excluded(doc) {
                continue;
            }
            if mark.by != at || mark.made != Made::Surely || mark.remote || !visible || kept.contains_key(&doc) {
                continue;
            }
            let seen = seen.entry(doc).or_insert_with(|| {
                let read = self.phones[at]
                    .with(now_ms, |phone| phone.client().open_doc(space, doc).and_then(|doc| Seen::of(&doc)));
                match read {
                    Some(Ok(seen)) => Some(seen),
                    Some(Err(ClientError::Deleted(_))) | None => None,
                    // The making of it may have been refused.
                    Some(Err(_)) if self.model.roles_changed => None,
                    Some(Err(_)) => Some(Seen::default()),
                }
            });
            if seen.as_ref().is_some_and(|seen| !seen.has(&tag(number))) {
                return broken(1, format!("phone {at} has lost its edit {} of {doc} over a restart", tag(number)));
            }
        }
        Ok(())
    }

    /// What is in quarantine on a phone, by documents.
    fn kept_by(&mut self, at: usize) -> BTreeMap<DocId, Vec<String>> {
        let (now_ms, space) = (self.now_ms, self.space);
        let kept = self.phones[at].with(now_ms, |phone| {
            let client = phone.client();
            let mut kept: BTreeMap<DocId, Vec<String>> = BTreeMap::new();
            for entry in client.quarantine(space).unwrap_or_default() {
                let text = client.export_quarantined(space, entry.id()).map(|export| export.json);
                kept.entry(entry.doc).or_default().push(text.unwrap_or_default());
            }
            kept
        });
        kept.unwrap_or_default()
    }

    /// Promise 2: what was acknowledged survives the server's death.
    pub(super) fn server_has_what_it_acknowledged(&mut self) -> Checked {
        if self.model.server_lost {
            return Ok(());
        }
        let (now_ms, space) = (self.now_ms, self.space);
        let Some((_, feeds)) = self.server.version(space) else { return Ok(()) };
        for (at, phone) in self.phones.iter_mut().enumerate() {
            let acknowledged = phone.with(now_ms, |phone| {
                let client = phone.client();
                (client.device(), client.acknowledged(space), client.former_devices())
            });
            // Of one that was another device, not all that is acknowledged is this one's.
            let Some((device, Ok(acked), Ok(former))) = acknowledged else { continue };
            if !former.is_empty() {
                continue;
            }
            let has = feeds.get(device).map_or(0, |head| head.n);
            if has < acked.n {
                let what = format!("the server has {has} items of phone {at}, and had acknowledged {}", acked.n);
                return broken(2, what);
            }
        }
        Ok(())
    }

    /// Promise 5: a phone shows nothing before what it was made upon, across documents.
    pub(super) fn look(&mut self, at: usize) -> Checked {
        // What was refused is in no document, and what speaks of it may be.
        if self.model.roles_changed {
            return Ok(());
        }
        let (now_ms, space) = (self.now_ms, self.space);
        let seen = self.phones[at].with(now_ms, |phone| {
            let mut all = BTreeMap::new();
            for doc in docs(phone, space) {
                let read = phone.client().open_doc(space, doc).and_then(|doc| Seen::of(&doc));
                all.insert(doc, read.map_err(|error| error.to_string()));
            }
            all
        });
        let seen = seen.unwrap_or_default();
        for (doc, read) in &seen {
            let read = match read {
                Ok(read) => read,
                Err(error) => return broken(1, format!("phone {at} cannot read {doc}: {error}")),
            };
            for (of, tag) in &read.refers {
                let deleted = self.model.papers.get(of).is_some_and(|paper| paper.deleted.is_some());
                let there = seen.get(of).is_some_and(|read| read.as_ref().is_ok_and(|read| read.has(tag)));
                let excluded = self.model.is_excluded(*of) || self.model.is_excluded(*doc);
                if !deleted && !there && !excluded {
                    return broken(5, format!("phone {at} shows in {doc} what speaks of {tag} in {of}, and not that"));
                }
            }
        }
        Ok(())
    }

    /// Everything that must hold when nothing is left to exchange.
    pub(super) fn all_holds(&mut self) -> Checked {
        let findings = self.server.findings(self.space);
        if !findings.is_empty() {
            return broken(2, format!("the server's database is not what its log says: {findings:?}"));
        }
        self.readers_wrote_nothing()?;
        self.log_is_in_order()?;
        let alive: Vec<usize> = (0..self.phones.len()).filter(|at| !self.phones[*at].gone).collect();
        let wholes = self.phones_agree(&alive)?;
        let mut kept: BTreeMap<DocId, Vec<String>> = BTreeMap::new();
        for &at in &alive {
            for (doc, texts) in self.kept_by(at) {
                kept.entry(doc).or_default().extend(texts);
            }
            self.look(at)?;
        }
        // Promise 7: what is refused has a cause.
        let deletes = self.model.papers.values().any(|paper| paper.deleted.is_some());
        let excluded = self.model.papers.values().any(|paper| paper.excluded);
        if !kept.is_empty() && !self.model.roles_changed && !deletes && !excluded {
            return broken(7, format!("something is in quarantine, and nobody was kept from writing: {kept:?}"));
        }
        for (doc, paper) in &self.model.papers {
            let listed = wholes.contains_key(doc);
            let sure = paper.deleted == Some(Made::Surely) && !self.model.roles_changed && !self.model.may_lack;
            if listed && sure && !self.model.server_lost {
                return broken(7, format!("{doc} was deleted and is there"));
            }
        }
        let Some(&first) = alive.first() else { return Ok(()) };
        let (now_ms, space) = (self.now_ms, self.space);
        let mut seen: BTreeMap<DocId, Seen> = BTreeMap::new();
        for doc in wholes.keys() {
            let read = self.phones[first].with(now_ms, |phone| {
                phone.client().open_doc(space, *doc).and_then(|doc| Seen::of(&doc)).unwrap_or_default()
            });
            seen.insert(*doc, read.unwrap_or_default());
        }
        self.marks_hold(&seen, &kept)
    }

    /// Promise 5, for those who read one page now and the next one later: in the log nothing stands in front of what it was
    /// made upon in another document.
    fn log_is_in_order(&self) -> Checked {
        // What comes back, or is written anew, has another place.
        if self.model.server_lost || self.model.roles_changed || self.model.copied_unsent || self.model.may_lack {
            return Ok(());
        }
        let changes: Vec<(DocId, String)> =
            self.server.changes(self.space).into_iter().map(|(doc, bytes)| (doc, describe(&bytes))).collect();
        let place = |doc: DocId, tag: &str| {
            let key = format!("\"{tag}\"");
            changes.iter().position(|(of, text)| *of == doc && text.contains(&key))
        };
        for (number, of, referred) in &self.model.refers {
            let doc = self.model.marks[*number].doc;
            if let (Some(cause), Some(effect)) = (place(*of, referred), place(doc, &tag(*number)))
                && cause > effect
            {
                return broken(
                    5,
                    format!("in the log, {} stands in front of {referred}, of which it speaks", tag(*number)),
                );
            }
        }
        Ok(())
    }

    /// Promise 8: nobody does what is another's to do.
    fn readers_wrote_nothing(&self) -> Checked {
        // What was lost and comes back was taken when it first came.
        if self.model.server_lost || self.read_only.is_empty() {
            return Ok(());
        }
        for (seq, device) in self.server.applied(self.space) {
            let Some(user) = self.owners.get(&device) else { continue };
            let mut denied = self
                .read_only
                .iter()
                .filter(|(reader, after, through)| reader == user && seq > *after && seq <= *through);
            if denied.next().is_some() {
                return broken(8, format!("entry {seq} of {user} was taken while they might only read"));
            }
        }
        Ok(())
    }

    /// Promise 4: equal documents.
    fn phones_agree(&mut self, alive: &[usize]) -> Result<BTreeMap<DocId, Whole>, super::Broken> {
        let (now_ms, space) = (self.now_ms, self.space);
        let mut first: Option<(usize, BTreeMap<DocId, Whole>)> = None;
        for &at in alive {
            let read = self.phones[at].with(now_ms, |phone| {
                let mut all = BTreeMap::new();
                for doc in docs(phone, space) {
                    let read = phone.client().open_doc(space, doc).and_then(|doc| {
                        Ok::<Whole, ClientError>((
                            doc.heads()?,
                            doc.json(sync_client_ffi::path![])?,
                            doc.canonical_save()?,
                        ))
                    });
                    all.insert(doc, read.map_err(|error| format!("{doc}: {error}"))?);
                }
                Ok::<_, String>(all)
            });
            let all = match read {
                Some(Ok(all)) => all,
                Some(Err(error)) => return broken(1, format!("phone {at} cannot read a document: {error}")),
                None => continue,
            };
            let Some((other, expected)) = &first else {
                first = Some((at, all));
                continue;
            };
            // One whose making was refused is there for its maker alone, and in quarantine.
            let (kept, theirs) = (self.kept_by(at), self.kept_by(*other));
            let alone = |doc: &&DocId| !kept.contains_key(doc) && !theirs.contains_key(doc);
            let ours: Vec<&DocId> = all.keys().filter(|doc| !expected.contains_key(doc)).filter(alone).collect();
            let theirs: Vec<&DocId> = expected.keys().filter(|doc| !all.contains_key(doc)).filter(alone).collect();
            if !ours.is_empty() || !theirs.is_empty() {
                return broken(4, format!("phone {at} alone lists {ours:?}, phone {other} alone {theirs:?}"));
            }
            for (doc, ours) in &all {
                let Some(theirs) = expected.get(doc) else { continue };
                if ours != theirs {
                    let how = if ours.1 == theirs.1 { "hold" } else { "show" };
                    let what =
                        format!("phones {at} and {other} {how} different things in {doc}: {:?} {:?}", ours.1, theirs.1);
                    return broken(4, what);
                }
            }
        }
        Ok(first.map(|(_, all)| all).unwrap_or_default())
    }

    /// Promises 1, 2, 3, 6 and 7: each edit is there once, or in quarantine.
    fn marks_hold(&self, seen: &BTreeMap<DocId, Seen>, kept: &BTreeMap<DocId, Vec<String>>) -> Checked {
        if self.model.copied_unsent {
            return Ok(());
        }
        let lost = if self.model.server_lost {
            6
        } else if self.model.roles_changed {
            7
        } else {
            2
        };
        let mut counts: BTreeMap<DocId, (i64, i64)> = BTreeMap::new();
        for (number, mark) in self.model.marks.iter().enumerate() {
            let (doc, parts, tag) = (mark.doc, mark.parts, tag(number));
            if self.model.is_excluded(doc) {
                continue;
            }
            let deleted = self.model.papers.get(&doc).is_some_and(|paper| paper.deleted.is_some());
            let texts = kept.get(&doc).map_or(&[][..], Vec::as_slice);
            let sure = mark.made == Made::Surely;
            let Some(seen) = seen.get(&doc) else {
                if sure && !deleted && !texts.iter().any(|text| text.contains(&tag)) && texts.is_empty() {
                    return broken(lost, format!("{doc} is nowhere, and with it {tag} of store {}", mark.by));
                }
                continue;
            };
            for (has, name, there) in
                [(parts.list, "list", &seen.list), (parts.text, "text", &seen.text), (parts.key, "keys", &seen.keys)]
            {
                let times = there.get(&tag).copied().unwrap_or(0);
                if times > u64::from(has) {
                    return broken(3, format!("{tag} of store {} is {times} times in the {name} of {doc}", mark.by));
                }
                let excused =
                    if name == "text" { !texts.is_empty() } else { texts.iter().any(|text| text.contains(&tag)) };
                if has && times == 0 && sure && !excused && !deleted {
                    return broken(lost, format!("{tag} of store {} is not in the {name} of {doc}", mark.by));
                }
            }
            let count = counts.entry(doc).or_default();
            if parts.count {
                count.0 += i64::from(sure && texts.is_empty() && !deleted);
                count.1 += 1;
            }
        }
        for (doc, (least, most)) in counts {
            let Some(count) = seen.get(&doc).and_then(|seen| seen.count) else { continue };
            if count < least || count > most {
                let promise = if count > most { 3 } else { lost };
                return broken(promise, format!("the counter of {doc} is {count}, and not within {least} and {most}"));
            }
        }
        Ok(())
    }
}
