//! A phone: a process with a store of its own, that types its script and may be killed at any moment.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sync_client_ffi::{Client, Doc, EditState, Hold, Value, VersionVector};

use crate::line::{CANONICAL_FILE, JOB_FILE, Job, Order, Proof, Report, STORE_FILE};
use crate::script::{Place, Play, Script, Source, Step};

mod desk;
pub mod held;
mod network;
pub mod times;

use desk::Desk;
use network::Network;
use times::{CONNECTED_FILE, Log, SHOWN_FILE, TYPED_FILE};

/// The collection that the document is in.
const COLLECTION: &str = "texts";
/// The text in the document.
const BODY: &str = "body";
/// The counter in the document.
const WORDS: &str = "words";
/// The shortest time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(25);
/// A change of another phone that does not come for so long never will.
const ARRIVAL_MAX: Duration = Duration::from_mins(2);
/// Edits whose place in the log is told.
const PLACES_MAX: u64 = 20_000;

/// Runs a phone in its folder until its orders end.
pub fn run(folder: &Path, source: &Source) -> Result<(), Box<dyn Error>> {
    let job: Job = serde_json::from_slice(&std::fs::read(folder.join(JOB_FILE))?)?;
    let play = if job.reads { Play::default() } else { Play::new(source)? };
    let client =
        Client::builder(folder.join(STORE_FILE)).server(job.server.as_str()).token(job.token.as_str()).open()?;
    let network = Network::start(client.clone(), Log::open(folder, CONNECTED_FILE)?)?;
    let hears = network.clone();
    let desk = Desk::open(move || hears.came_back())?;
    let typed = Log::open(folder, TYPED_FILE)?;
    let rate = source.rate();
    let phone = Phone { job, client, desk, network, play, typed, rate };
    let (doc, hold, setup) = phone.document()?;
    let shown = Log::open(folder, SHOWN_FILE)?;
    let _observer = doc.observe(move |event| shown.add(event.through));
    phone.play(&doc, hold, setup, folder)
}

struct Phone {
    job: Job,
    client: Client,
    desk: Desk,
    network: Network,
    play: Play,
    typed: Log,
    /// Edits a second; `None`: as fast as the disk takes them.
    rate: Option<f64>,
}

/// One line, out at once: what is still in a buffer dies with the process.
pub fn tell(report: &Report) -> Result<(), Box<dyn Error>> {
    let mut line = serde_json::to_string(report)?;
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    Ok(out.flush()?)
}

impl Phone {
    /// Opens the document, or prepares it; and how many edits of this phone were for that.
    fn document(&self) -> Result<(Doc, Option<Hold>, u64), Box<dyn Error>> {
        let space = self.client.personal_space();
        let Some((id, n)) = self.job.doc else {
            let known = self.client.documents(space, Some(COLLECTION))?;
            let (doc, hold) = match known.first() {
                Some(known) => self.open(known.id)?,
                None => (self.client.create(space, COLLECTION)?, None),
            };
            if doc.edits()? == 0 {
                doc.edit(|edit| {
                    edit.put(BODY, Value::Text(self.play.start.clone()));
                    edit.put(WORDS, Value::Counter(0));
                })?;
                doc.seal()?;
            }
            let hold = if self.play.held { Some(hold.map_or_else(|| doc.hold(), Ok)?) } else { None };
            return Ok((doc, hold, 1));
        };
        if self.job.reads {
            self.network.settle()?;
        }
        self.arrival(0, n)?;
        let (doc, hold) = self.open(id)?;
        if let Some(hold) = &hold {
            held::merge_through(hold, &std::iter::once((self.job.devices[0], n)).collect())?;
        }
        Ok((doc, hold, 0))
    }

    fn open(&self, id: sync_client_ffi::DocId) -> Result<(Doc, Option<Hold>), Box<dyn Error>> {
        let space = self.client.personal_space();
        if self.play.held && self.script().is_some() {
            let (doc, hold) = held::open(&self.client, space, id)?;
            return Ok((doc, Some(hold)));
        }
        Ok((self.client.open_doc(space, id)?, None))
    }

    /// Nothing for a phone that only reads.
    fn script(&self) -> Option<&Script> {
        self.play.scripts.get(self.job.phone)
    }

    /// Waits until a change of another phone has arrived.
    fn arrival(&self, phone: usize, n: u64) -> Result<(), Box<dyn Error>> {
        let device = self.job.devices[phone];
        let space = self.client.personal_space();
        if self.client.wait_for(space, device, n, ARRIVAL_MAX) {
            Ok(())
        } else {
            Err(format!("change {n} of phone {phone} has not arrived").into())
        }
    }

    fn play(&self, doc: &Doc, hold: Option<Hold>, setup: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
        let space = self.client.personal_space();
        let done = doc.edits()?.saturating_sub(setup) as usize;
        doc.seal()?;
        let n = self.client.feed(space)?.n;
        tell(&Report::Ready { doc: doc.id(), steps: done, n })?;
        let mut hold = hold;
        while let Some(order) = self.desk.next() {
            match order {
                Order::Go => {
                    if let Some(script) = self.script() {
                        self.type_on(doc, hold.as_ref(), script, done)?;
                    }
                    tell(&Report::Done)?;
                }
                Order::Settle => {
                    drop(hold.take());
                    doc.seal()?;
                    self.network.settle()?;
                    tell(&Report::Settled { version: hex(&self.client.version(space)?.encode()) })?;
                }
                Order::Prove => {
                    std::fs::write(folder.join(CANONICAL_FILE), doc.canonical_save()?)?;
                    tell(&Report::Proof(Box::new(Proof {
                        heads: doc.heads()?.iter().map(ToString::to_string).collect(),
                        text: doc.text(BODY)?.unwrap_or_default(),
                        words: doc.get(WORDS)?.and_then(|words| words.as_i64()).unwrap_or_default(),
                        n: self.client.feed(space)?.n,
                        places: places(doc)?,
                    })))?;
                }
                Order::Point { .. } | Order::Network => {}
            }
        }
        Ok(())
    }

    /// Types from a step on. Ends early when the orders end: then nobody watches any more.
    fn type_on(&self, doc: &Doc, hold: Option<&Hold>, script: &Script, from: usize) -> Result<(), Box<dyn Error>> {
        let space = self.client.personal_space();
        let began = Instant::now();
        let mut reported = began;
        if script.points.contains(&from) {
            // A kill may have come between this edit and the word of it. Nothing was typed behind it.
            tell(&Report::Point { steps: from, n: self.client.feed(space)?.n })?;
        }
        // A merge that nothing was typed upon before a kill is done again.
        let mut merges = script.seen_before(from);
        for (at, step) in script.steps.iter().enumerate().skip(from) {
            if at > from {
                merges.clone_from(&step.merges);
            }
            if let Some(hold) = hold {
                self.merge(hold, &merges)?;
            }
            if let Some(rate) = self.rate {
                let due = began + Duration::from_secs_f64((at - from) as f64 / rate);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            self.typed.add(edit(doc, step)?);
            let steps = at + 1;
            if script.points.contains(&steps) {
                doc.seal()?;
                tell(&Report::Point { steps, n: self.client.feed(space)?.n })?;
            }
            if reported.elapsed() >= REPORT_EVERY {
                tell(&Report::Typed { steps })?;
                reported = Instant::now();
            }
            if self.desk.is_closed() {
                return Ok(());
            }
        }
        doc.seal()?;
        tell(&Report::Typed { steps: script.steps.len() })?;
        Ok(())
    }

    /// Merges exactly so much of the others, and waits for it where it has not come yet.
    fn merge(&self, hold: &Hold, merges: &[(usize, usize)]) -> Result<(), Box<dyn Error>> {
        if merges.is_empty() {
            return Ok(());
        }
        let mut version = VersionVector::default();
        for &(phone, steps) in merges {
            let n = self.desk.point(phone, steps, ARRIVAL_MAX)?;
            self.arrival(phone, n)?;
            version.advance(self.job.devices[phone], n);
        }
        held::merge_through(hold, &version)
    }
}

fn edit(doc: &Doc, step: &Step) -> Result<u64, Box<dyn Error>> {
    let at_end = step.patches.iter().any(|patch| matches!(patch.place, Place::End(_)));
    // Where the end is must not change between looking and typing.
    let hold = if at_end { Some(doc.hold()?) } else { None };
    let length = if at_end { doc.length(BODY)?.unwrap_or_default() } else { 0 };
    let number = doc.edit(|edit| {
        for patch in &step.patches {
            let at = match patch.place {
                Place::Start(at) => at,
                Place::End(back) => length - back,
            };
            edit.splice(BODY, at, patch.delete, patch.insert.as_str());
        }
        if step.counts {
            edit.increment(WORDS, 1);
        }
    })?;
    drop(hold);
    Ok(number)
}

/// Where the server's log holds the own edits.
fn places(doc: &Doc) -> Result<BTreeMap<u64, u64>, Box<dyn Error>> {
    let edits = doc.edits()?;
    let mut places = BTreeMap::new();
    for edit in (1..=edits).step_by((edits / PLACES_MAX + 1) as usize) {
        if let EditState::Durable { seq } = doc.edit_state(edit)? {
            places.insert(edit, seq);
        }
    }
    Ok(places)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
