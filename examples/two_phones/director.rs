//! Leads the play: lets the phones type, breaks things on the way, and demands the proof at the end.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use sync_client_ffi::DocId;

use crate::display::{Display, grouped};
use crate::faults::{self, Fault};
use crate::line::{Order, Proof, Report};
use crate::node::Backends;
use crate::proof::{self, Outcome};
use crate::script::{Play, Source};
use crate::stage::{Stage, name, node_name};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Without any progress for so long, something is stuck.
const STALL: Duration = Duration::from_mins(3);
/// How often the director looks around when nobody reports.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Rounds of exchanging until all replicas have everything; the second is mostly enough.
const SETTLE_ROUNDS: u32 = 10;

/// Plays the whole piece.
pub fn run(source: &Source, backends: &Backends, keep: Option<&Path>, quiet: bool) -> Result<()> {
    backends.check()?;
    let play = Play::new(source)?;
    let temporary = tempfile::tempdir()?;
    let folder = keep.unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    if keep.is_some() && folder.read_dir()?.next().is_some() {
        return Err(format!("{} is not empty: choose a new folder to keep this run in", folder.display()).into());
    }
    let phones = play.scripts.len();
    let stage = Stage::open(folder, source, backends, phones + 1)?;
    let nodes = stage.nodes();
    let mut director = Director {
        stage,
        display: Display::new(quiet),
        steps: vec![0; phones],
        done: vec![false; phones],
        points: BTreeMap::new(),
        faults: faults::schedule(source.seed, play.steps(), phones, nodes),
        cut_until: vec![None; phones],
        cuts: 0,
        kills: 0,
        play,
    };
    let served = if nodes > 1 { format!(", {nodes} nodes") } else { String::new() };
    let title = format!("{} on {phones} phones{served}, seed {}", director.play.title, source.seed);
    director.display.event(&title);
    let doc = director.prepare()?;
    director.perform()?;
    let mut outcome = director.settle(phones)?;
    director.newcomer(doc, &mut outcome)?;
    proof::tell(&director.play, &outcome, &mut director.display)
}

struct Director {
    play: Play,
    stage: Stage,
    display: Display,
    /// How many steps each phone is known to have on disk.
    steps: Vec<usize>,
    done: Vec<bool>,
    /// With which change a phone's feed ended after so many steps.
    points: BTreeMap<(usize, usize), u64>,
    faults: VecDeque<(usize, Fault)>,
    cut_until: Vec<Option<Instant>>,
    cuts: u32,
    kills: u32,
}

impl Director {
    /// Starts the phones; the first one makes the document.
    fn prepare(&mut self) -> Result<(DocId, u64)> {
        self.stage.add_phone(None, false)?;
        let (doc, _, n) = self.ready(0)?;
        for phone in 1..self.play.scripts.len() {
            self.stage.add_phone(Some((doc, n)), false)?;
            self.ready(phone)?;
        }
        for phone in 0..self.play.scripts.len() {
            self.stage.send(phone, &Order::Go)?;
        }
        Ok((doc, n))
    }

    fn ready(&mut self, phone: usize) -> Result<(DocId, usize, u64)> {
        self.wait(|of, report| match report {
            Report::Ready { doc, steps, n } if of == phone => Some((*doc, *steps, *n)),
            _ => None,
        })
    }

    /// Waits for a report that `wanted` takes; others are passed over.
    fn wait<T>(&mut self, mut wanted: impl FnMut(usize, &Report) -> Option<T>) -> Result<T> {
        let until = Instant::now() + STALL;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Some((phone, true, report)) = self.stage.report(left)?
                && let Some(found) = wanted(phone, &report)
            {
                return Ok(found);
            }
        }
        Err(format!("a phone did not answer within {} s", STALL.as_secs()).into())
    }

    /// Until everything is typed, and everything that was to go wrong has gone wrong.
    fn perform(&mut self) -> Result<()> {
        let mut moved = Instant::now();
        loop {
            self.restore_what_is_due()?;
            self.break_what_is_due()?;
            let is_whole = self.cut_until.iter().all(Option::is_none);
            if is_whole && self.faults.is_empty() && self.done.iter().all(|done| *done) {
                return Ok(());
            }
            let due = self.cut_until.iter().flatten().min();
            let longest = due.map_or(LOOK_EVERY, |due| due.saturating_duration_since(Instant::now()));
            let before: usize = self.steps.iter().sum();
            if let Some((phone, is_current, report)) = self.stage.report(longest.min(LOOK_EVERY))? {
                self.take(phone, is_current, report)?;
            }
            if self.steps.iter().sum::<usize>() != before || !is_whole {
                moved = Instant::now();
            }
            if moved.elapsed() > STALL {
                return Err(format!("nothing was typed for {} s: {}", STALL.as_secs(), self.progress()).into());
            }
            let progress = self.progress();
            self.display.progress(|| progress);
        }
    }

    fn take(&mut self, phone: usize, is_current: bool, report: Report) -> Result<()> {
        match report {
            // Also of a life that has ended: what it said was on disk.
            Report::Typed { steps } => {
                self.steps[phone] = self.steps[phone].max(steps);
            }
            Report::Point { steps, n } => {
                self.points.insert((phone, steps), n);
                self.send_others(phone, &Order::Point { phone, steps, n })?;
            }
            Report::Ready { steps, .. } if is_current => {
                if steps < self.steps[phone] {
                    let lost = self.steps[phone] - steps;
                    return Err(format!("phone {} lost {lost} durable edits in a kill", name(phone)).into());
                }
                self.steps[phone] = steps;
                for (&(phone_of, steps), &n) in &self.points {
                    if phone_of != phone {
                        self.stage.send(phone, &Order::Point { phone: phone_of, steps, n })?;
                    }
                }
                self.stage.send(phone, &Order::Go)?;
            }
            Report::Done if is_current => self.done[phone] = true,
            _ => {}
        }
        Ok(())
    }

    fn send_others(&mut self, phone: usize, order: &Order) -> Result<()> {
        for other in (0..self.play.scripts.len()).filter(|other| *other != phone) {
            self.stage.send(other, order)?;
        }
        Ok(())
    }

    fn restore_what_is_due(&mut self) -> Result<()> {
        for phone in 0..self.cut_until.len() {
            if self.cut_until[phone].is_some_and(|until| until <= Instant::now()) {
                self.stage.restore(phone);
                self.stage.send(phone, &Order::Network)?;
                self.cut_until[phone] = None;
            }
        }
        Ok(())
    }

    fn break_what_is_due(&mut self) -> Result<()> {
        let typed: usize = self.steps.iter().sum();
        while let Some(&(at, fault)) = self.faults.front() {
            let is_later = at > typed;
            let is_cut_already = matches!(fault, Fault::Cut { phone, .. } if self.stage.is_cut(phone));
            if is_later || is_cut_already {
                return Ok(());
            }
            self.faults.pop_front();
            match fault {
                Fault::Cut { phone, lasts } => {
                    self.stage.cut(phone);
                    self.cut_until[phone] = Some(Instant::now() + lasts);
                    self.cuts += 1;
                    self.display.event(&format!("phone {} has no network for {} ms", name(phone), lasts.as_millis()));
                }
                Fault::KillPhone { phone } => {
                    self.done[phone] = false;
                    self.stage.kill_phone(phone)?;
                    self.kills += 1;
                    self.display.event(&format!("phone {} is killed, and starts again", name(phone)));
                }
                Fault::KillNode { node } => {
                    self.stage.kill_node(node)?;
                    self.kills += 1;
                    let killed = node_name(node, self.stage.nodes());
                    self.display.event(&format!("{killed} is killed, and starts again"));
                }
            }
        }
        Ok(())
    }

    fn progress(&self) -> String {
        let phones = (0..self.steps.len()).map(|phone| {
            let of = self.play.scripts[phone].steps.len();
            let dead = if self.stage.is_cut(phone) { " (no network)" } else { "" };
            format!("{} {} of {}{dead}", name(phone), grouped(self.steps[phone] as u64), grouped(of as u64))
        });
        let phones: Vec<String> = phones.collect();
        format!("{}   {} cuts, {} kills", phones.join("   "), self.cuts, self.kills)
    }

    /// Exchanges until the first `phones` replicas know the same, and has them prove it.
    fn settle(&mut self, phones: usize) -> Result<Outcome> {
        self.exchange(&(0..phones).collect::<Vec<_>>())?;
        let mut outcome = Outcome { cuts: self.cuts, kills: self.kills, ..Outcome::default() };
        for phone in 0..phones {
            self.prove(phone, &mut outcome)?;
        }
        let times = (0..phones).map(|phone| self.stage.times(phone)).collect::<std::io::Result<Vec<_>>>()?;
        for (writer, (proof, ..)) in outcome.replicas.iter().enumerate() {
            for reader in (0..phones).filter(|reader| *reader != writer) {
                outcome.seen.count(&times[writer], &proof.places, &times[reader]);
            }
        }
        Ok(outcome)
    }

    fn exchange(&mut self, phones: &[usize]) -> Result<()> {
        for _ in 0..SETTLE_ROUNDS {
            let mut versions = BTreeMap::new();
            for &phone in phones {
                self.stage.send(phone, &Order::Settle)?;
            }
            while versions.len() < phones.len() {
                let (phone, version) = self.wait(|phone, report| match report {
                    Report::Settled { version } => Some((phone, version.clone())),
                    _ => None,
                })?;
                versions.insert(phone, version);
            }
            let mut versions = versions.into_values();
            let first = versions.next();
            if versions.all(|version| Some(version) == first) {
                return Ok(());
            }
        }
        Err(format!("after {SETTLE_ROUNDS} rounds the phones still know different things").into())
    }

    fn prove(&mut self, phone: usize, outcome: &mut Outcome) -> Result<()> {
        self.stage.send(phone, &Order::Prove)?;
        let proof: Proof = self.wait(|of, report| match report {
            Report::Proof(proof) if of == phone => Some(Proof::clone(proof)),
            _ => None,
        })?;
        outcome.replicas.push((proof, self.stage.canonical(phone)?, self.stage.traffic(phone)));
        Ok(())
    }

    /// A new phone of the same user takes everything, from a node that no other phone talks to where there is one.
    fn newcomer(&mut self, (doc, n): (DocId, u64), outcome: &mut Outcome) -> Result<()> {
        let phone = self.play.scripts.len();
        let began = Instant::now();
        self.stage.add_phone(Some((doc, n)), true)?;
        self.ready(phone)?;
        self.exchange(&[0, phone])?;
        outcome.caught_up = began.elapsed();
        self.prove(phone, outcome)
    }
}
