//! What apps do: documents are made, edited, deleted.

use sync_client_ffi::simulated::Disk;
use sync_client_ffi::{Client, ClientError, Doc, DocId, Op, SpaceId, Value, path};

use super::model::{Made, Parts, tag};
use super::plan::Kind;
use super::rng::Rng;
use super::seen::{Seen, docs};
use super::{Checked, World};

impl World {
    /// One step of the plan.
    pub(super) fn step(&mut self, step: u64) -> Checked {
        let mut rng = Rng::of(self.case.seed, 1_000_000 + step);
        let kind = self.plan.kind(&mut rng);
        let alive: Vec<usize> = (0..self.phones.len()).filter(|at| !self.phones[*at].gone).collect();
        let Some(&at) = rng.pick(&alive) else { return Ok(()) };
        self.trace.note(format_args!("step {step}: {kind:?} {at}"));
        match kind {
            Kind::Create => self.create(at, &mut rng),
            Kind::Edit => self.edit(at, &mut rng),
            Kind::Burst => {
                for _ in 0..rng.within(2, 8) {
                    self.edit(at, &mut rng);
                }
            }
            Kind::Refer => self.refer(at, &mut rng),
            Kind::Delete => self.delete(at, &mut rng),
            Kind::Look => return self.look(at),
            other => return self.fault(other, at, &mut rng),
        }
        self.settle(at)
    }

    fn create(&mut self, at: usize, rng: &mut Rng) {
        let (now_ms, space) = (self.now_ms, self.space);
        let collection = ["notes", "lists"][rng.below(2) as usize];
        let before = self.listed(at);
        let phone = &mut self.phones[at];
        let Some(made) = phone.with(now_ms, |phone| phone.client().create(space, collection).map(|doc| doc.id()))
        else {
            return;
        };
        // What failed may be on disk all the same.
        let after = self.listed(at);
        for doc in after.iter().filter(|doc| !before.contains(doc)) {
            self.model.papers.entry(*doc).or_default();
        }
        let Ok(doc) = made else { return };
        self.model.papers.entry(doc).or_default();
        let structure = self.phones[at].with(now_ms, |phone| {
            let doc = phone.client().open_doc(space, doc)?;
            doc.edit(|edit| {
                edit.put("n", Value::Counter(0))
                    .put("list", Value::List(vec![]))
                    .put("text", Value::Text(String::new()));
            })
        });
        self.trace.note(format_args!("phone {at} makes {doc}: {}", told(structure.as_ref())));
    }

    fn listed(&mut self, at: usize) -> Vec<DocId> {
        let (now_ms, space) = (self.now_ms, self.space);
        self.phones[at].with(now_ms, |phone| docs(phone, space)).unwrap_or_default()
    }

    pub(super) fn edit(&mut self, at: usize, rng: &mut Rng) {
        let (now_ms, space, listed) = (self.now_ms, self.space, self.listed(at));
        let Some(&doc) = rng.pick(&listed) else { return };
        let number = self.model.mark(doc, at, Parts::default());
        let tag = tag(number);
        let edited = self.phones[at].with(now_ms, |phone| write(phone.client(), space, doc, &tag, rng));
        let (parts, edited) = match edited {
            None => (Parts::default(), None),
            Some(Err(error)) => (Parts::default(), Some(Err(error))),
            Some(Ok((parts, edited))) => (parts, Some(edited)),
        };
        self.model.marks[number].parts = parts;
        self.trace.note(format_args!("phone {at} edits {doc} {tag} {parts:?}: {}", told(edited.as_ref())));
        self.wrote(number, edited.as_ref());
    }

    /// What comes of an edit.
    fn wrote(&mut self, number: usize, edited: Option<&Result<u64, ClientError>>) {
        if let Some(Ok(_)) = edited {
            self.model.made(number);
        }
    }

    fn refer(&mut self, at: usize, rng: &mut Rng) {
        let (now_ms, space, listed) = (self.now_ms, self.space, self.listed(at));
        let (Some(&of), Some(&doc)) = (rng.pick(&listed), rng.pick(&listed)) else { return };
        if of == doc {
            return;
        }
        let seen = self.phones[at].with(now_ms, |phone| {
            phone.client().open_doc(space, of).and_then(|doc| Seen::of(&doc)).unwrap_or_default()
        });
        let tags: Vec<String> = seen.unwrap_or_default().keys.into_keys().collect();
        let Some(referred) = rng.pick(&tags) else { return };
        let number = self.model.mark(doc, at, Parts { key: true, ..Parts::default() });
        self.model.refers.push((number, of, referred.clone()));
        let (tag, value) = (tag(number), format!("{of} {referred}"));
        let edited = self.phones[at].with(now_ms, |phone| {
            let doc = phone.client().open_doc(space, doc)?;
            doc.edit(|edit| {
                edit.put(tag.as_str(), value.as_str());
            })
        });
        self.trace.note(format_args!("phone {at} refers in {doc} {tag} to {value}: {}", told(edited.as_ref())));
        self.wrote(number, edited.as_ref());
    }

    fn delete(&mut self, at: usize, rng: &mut Rng) {
        let (now_ms, space, listed) = (self.now_ms, self.space, self.listed(at));
        let Some(&doc) = rng.pick(&listed) else { return };
        let deleted = self.phones[at].with(now_ms, |phone| phone.client().delete(space, doc));
        let made = if matches!(deleted, Some(Ok(()))) { Made::Surely } else { Made::Maybe };
        let paper = self.model.papers.entry(doc).or_default();
        if paper.deleted != Some(Made::Surely) {
            paper.deleted = Some(made);
        }
        self.trace.note(format_args!("phone {at} deletes {doc}: {}", told(deleted.as_ref())));
    }
}

fn told<T>(done: Option<&Result<T, ClientError>>) -> String {
    match done {
        None => "off".to_owned(),
        Some(Ok(_)) => "done".to_owned(),
        Some(Err(error)) => error.to_string(),
    }
}

/// Edits a document in some of the ways that it has room for.
fn write(
    client: &Client,
    space: SpaceId,
    doc: DocId,
    tag: &str,
    rng: &mut Rng,
) -> Result<(Parts, Result<u64, ClientError>), ClientError> {
    let doc: Doc = client.open_doc(space, doc)?;
    let (list, text) = (doc.length("list")?, doc.text("text")?);
    let counts = doc.get("n")?.is_some();
    let ways = rng.within(1, 15);
    let mut parts = Parts {
        list: ways & 1 > 0 && list.is_some(),
        text: ways & 2 > 0 && text.is_some(),
        key: ways & 4 > 0,
        count: ways & 8 > 0 && counts,
    };
    parts.key |= parts == Parts::default();
    let at = rng.below(list.unwrap_or(0) + 1);
    // Between two tags, never within one.
    let places: Vec<u64> =
        text.iter().flat_map(|text| text.match_indices('>').map(|(at, _)| at as u64 + 1)).chain([0]).collect();
    let place = rng.pick(&places).copied().unwrap_or(0);
    let edited = doc.edit(|edit| {
        if parts.list {
            edit.insert(path!["list", at], vec![tag.into()]);
        }
        if parts.text {
            edit.splice("text", place, 0, tag);
        }
        if parts.key {
            edit.put(tag, 1i64);
        }
        if parts.count {
            edit.op(Op::Increment { path: "n".into(), by: 1 });
        }
    });
    Ok((parts, edited))
}

/// A disk for a while.
pub(super) fn failing(rng: &mut Rng) -> Disk {
    Disk::Fails { after: rng.within(1, 12), told: rng.chance(500) }
}
