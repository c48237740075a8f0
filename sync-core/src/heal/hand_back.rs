//! The device's side: the last place that its log and the server's share, then what the server lost, page by page.

use crate::feed::{Body, ItemKind};
use crate::id::SpaceId;
use crate::limits::{HEAL_HEADERS_MAX, HEAL_PLACES_MAX, HEAL_ROUNDS_MAX, PAGE_CHANGES_MAX};
use crate::log::{Cursor, Entry, Receipt, Verdict};
use crate::wire::{HandedBack, HealRequest, HealResponse, SCHEMA};

use super::LostEntries;

/// How much of a log is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Entries, at least one.
    pub entries_max: usize,
    /// Payload bytes, though the first entry always comes; `None`: payloads are left out.
    pub bytes_max: Option<usize>,
}

/// The log as a device has stored it.
pub trait Held {
    /// The disk failed.
    type Error;

    /// Entries behind the place `after` up to the place `through`, in log order.
    fn entries(&self, after: u64, through: u64, page: Page) -> Result<Vec<Entry>, Self::Error>;
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask the server this, and go on with its answer.
    Ask(Box<HealRequest>),
    /// There is no more to hand back.
    Done(Healed),
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Healed {
    /// A place that the server's log has: reading goes on from there.
    pub resume: Cursor,
    /// The server's receipt for it, where one is known.
    pub receipt: Option<Receipt>,
    /// Entries that the server has taken back.
    pub handed: u64,
}

/// One device handing back what a server has lost of one space.
#[derive(Debug)]
pub struct HandBack {
    space: SpaceId,
    /// How far the device has the log.
    cursor: Cursor,
    /// The last place that it has a receipt for.
    proven: Option<(Cursor, Receipt)>,
    bytes_max: usize,
    stage: Stage,
    healed: Healed,
}

#[derive(Debug)]
enum Stage {
    /// `low` is shared, if it is known; what is at `high` or behind it is not.
    Searching { low: Option<Cursor>, high: u64, rounds: u32 },
    /// The pages that it is handed back in. The receipts of all from `at` on are known.
    Proving { cuts: Vec<Cut>, at: usize },
    /// The pages before `at` are handed back.
    Handing { cuts: Vec<Cut>, at: usize },
}

/// The end of a page.
#[derive(Debug, Clone, Copy)]
struct Cut {
    place: Cursor,
    receipt: Option<Receipt>,
}

impl HandBack {
    /// Begins. `cursor` is how far the device has the log, `proven` the last place in it that it has a receipt for; a page holds
    /// at most `bytes_max`.
    pub fn new(space: SpaceId, cursor: Cursor, proven: Option<(Cursor, Receipt)>, bytes_max: usize) -> Self {
        let stage = Stage::Searching { low: None, high: cursor.seq.saturating_add(1), rounds: 0 };
        let healed = Healed { resume: Cursor::start(space), receipt: None, handed: 0 };
        let proven = proven.filter(|(place, _)| place.seq <= cursor.seq);
        Self { space, cursor, proven, bytes_max, stage, healed }
    }

    /// The first question.
    pub fn begin(&self) -> HealRequest {
        let back = (0..HEAL_PLACES_MAX as u32 - 1).map_while(|power| 1_u64.checked_shl(power));
        let mut places = vec![self.cursor.seq];
        places.extend(back.map_while(|distance| self.cursor.seq.checked_sub(distance)));
        places.retain(|seq| *seq > 0);
        self.ask(places, None)
    }

    /// The server does not know its receipt any more: nothing is handed back, and reading goes on from where the logs part.
    pub fn unproven(&self) -> Healed {
        Healed { receipt: None, ..self.healed }
    }

    /// Goes on with an answer.
    pub fn next<H: Held>(&mut self, answer: &HealResponse, held: &H) -> Result<Next, H::Error> {
        match &mut self.stage {
            Stage::Searching { .. } => self.search(answer, held),
            Stage::Proving { cuts, at } => {
                *at -= 1;
                cuts[*at].receipt = answer.receipt;
                let (proven, at) = (answer.receipt.is_some(), *at);
                if proven { self.prove(at, held) } else { Ok(Next::Done(self.unproven())) }
            }
            Stage::Handing { cuts, at } => {
                let taken = answer.taken.unwrap_or_default();
                self.healed.handed += taken.taken;
                if *at == 1 {
                    self.healed.receipt = answer.receipt;
                }
                let cut = cuts[*at];
                if answer.head == cut.place {
                    (self.healed.resume, self.healed.receipt) = (cut.place, cut.receipt);
                }
                let at = *at;
                if taken.left > 0 { Ok(Next::Done(self.healed)) } else { self.hand(at + 1, held) }
            }
        }
    }

    fn ask(&self, places: Vec<u64>, lost: Option<HandedBack>) -> HealRequest {
        HealRequest { schema: SCHEMA, space: self.space, places, lost }
    }

    /// Narrows down where the logs part.
    fn search<H: Held>(&mut self, answer: &HealResponse, held: &H) -> Result<Next, H::Error> {
        let Stage::Searching { low, high, rounds } = self.stage else { return Ok(Next::Done(self.healed)) };
        let (low, high) = match low {
            None => self.first_places(answer, held)?,
            Some(low) => further_places(low, high, answer, held)?,
        };
        let Some(low) = low else {
            // Its own log does not lead to its own place: it is read anew as a whole, and what is here already is passed over.
            return Ok(Next::Done(self.healed));
        };
        self.healed.resume = low;
        if high - low.seq > 1 && rounds < HEAL_ROUNDS_MAX {
            self.stage = Stage::Searching { low: Some(low), high, rounds: rounds + 1 };
            return Ok(Next::Ask(Box::new(self.ask(between(low.seq, high), None))));
        }
        self.cut(low, held)
    }

    /// Of the places in the first answer the last that is shared. One is where the own log leads from it to the own place: so
    /// only what lies behind it is read.
    fn first_places<H: Held>(&self, answer: &HealResponse, held: &H) -> Result<(Option<Cursor>, u64), H::Error> {
        let mut places: Vec<Cursor> = answer.places.iter().copied().take(HEAL_PLACES_MAX).collect();
        places.extend([answer.head, Cursor::start(self.space)]);
        places.retain(|place| place.seq <= self.cursor.seq);
        places.sort_by_key(|place| std::cmp::Reverse(place.seq));
        let mut high = self.cursor.seq.min(answer.head.seq) + 1;
        for place in places {
            if place.seq >= high {
                continue;
            }
            let reached = walk(place, self.cursor.seq, held, |_| {})?;
            if reached == self.cursor {
                return Ok((Some(place), high));
            }
            high = place.seq;
        }
        Ok((None, high))
    }

    /// Cuts what lies between the shared place and the proven one into pages.
    fn cut<H: Held>(&mut self, shared: Cursor, held: &H) -> Result<Next, H::Error> {
        let Some((end, receipt)) =
            self.proven.filter(|(end, _)| end.seq > shared.seq && !crate::mutation!("nothing-handed-back"))
        else {
            return Ok(Next::Done(self.healed));
        };
        let mut cuts = vec![Cut { place: shared, receipt: None }];
        let mut place = shared;
        while place.seq < end.seq {
            let entries = held.entries(place.seq, end.seq, self.page())?;
            if entries.is_empty() {
                break;
            }
            place = entries.iter().fold(place, |place, entry| place.next(&entry.header));
            cuts.push(Cut { place, receipt: None });
        }
        if place != end {
            return Ok(Next::Done(self.healed));
        }
        let last = cuts.len() - 1;
        cuts[last].receipt = Some(receipt);
        self.stage = Stage::Proving { cuts, at: last };
        self.prove(last, held)
    }

    fn page(&self) -> Page {
        Page { entries_max: PAGE_CHANGES_MAX, bytes_max: Some(self.bytes_max) }
    }

    /// Asks for the receipt of the page before `at`, from the last to the first: each proves the one before it.
    fn prove<H: Held>(&mut self, at: usize, held: &H) -> Result<Next, H::Error> {
        let Stage::Proving { cuts, .. } = &mut self.stage else { return Ok(Next::Done(self.healed)) };
        if at > 1 {
            let (base, end) = (cuts[at - 1], cuts[at]);
            let page = Page { entries_max: PAGE_CHANGES_MAX, bytes_max: None };
            let entries = held.entries(base.place.seq, end.place.seq, page)?;
            return Ok(self.lost(base, end, entries, true));
        }
        let cuts = std::mem::take(cuts);
        self.stage = Stage::Handing { cuts, at: 0 };
        self.hand(1, held)
    }

    /// Hands back the page that ends at the cut `at`.
    fn hand<H: Held>(&mut self, at: usize, held: &H) -> Result<Next, H::Error> {
        let Stage::Handing { cuts, at: handed } = &mut self.stage else { return Ok(Next::Done(self.healed)) };
        let Some(end) = cuts.get(at).copied() else { return Ok(Next::Done(self.healed)) };
        *handed = at;
        let base = cuts[at - 1];
        let entries = held.entries(base.place.seq, end.place.seq, self.page())?;
        Ok(self.lost(base, end, entries, false))
    }

    fn lost(&self, base: Cut, end: Cut, entries: Vec<Entry>, prove: bool) -> Next {
        let Some(receipt) = end.receipt else { return Next::Done(self.healed) };
        let lost = LostEntries { base: base.place, entries, receipt };
        Next::Ask(Box::new(self.ask(Vec::new(), Some(HandedBack { lost, prove }))))
    }
}

/// Of the places in a further answer the last that is shared, and the first that is not.
fn further_places<H: Held>(
    low: Cursor,
    high: u64,
    answer: &HealResponse,
    held: &H,
) -> Result<(Option<Cursor>, u64), H::Error> {
    let (mut last, mut first_other) = (low, high);
    walk(low, high.saturating_sub(1), held, |place| {
        match answer.places.iter().find(|of_server| of_server.seq == place.seq) {
            Some(same) if *same == place => last = place,
            Some(_) => first_other = first_other.min(place.seq),
            None => {}
        }
    })?;
    // A place that the server did not name is behind the end of its log.
    let end = answer.head.seq.saturating_add(1);
    Ok((Some(last), first_other.min(end).max(last.seq + 1)))
}

/// Follows the chain over the device's own entries.
fn walk<H: Held>(from: Cursor, through: u64, held: &H, mut at: impl FnMut(Cursor)) -> Result<Cursor, H::Error> {
    let mut place = from;
    while place.seq < through {
        let page = Page { entries_max: HEAL_HEADERS_MAX, bytes_max: None };
        let entries = held.entries(place.seq, through, page)?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            place = place.next(&entry.header);
            at(place);
        }
    }
    Ok(place)
}

/// Places between two, evenly spread.
fn between(low: u64, high: u64) -> Vec<u64> {
    let gap = u128::from(high - low);
    let parts = gap.min(HEAL_PLACES_MAX as u128 + 1);
    let mut places: Vec<u64> = (1..parts).map(|part| low + (gap * part / parts) as u64).collect();
    places.dedup();
    places
}

/// An entry from what a store holds of it: its header, and what it carried.
pub fn entry(header: crate::log::Header, payload: Option<Vec<u8>>) -> Entry {
    let body = match (header.kind, header.verdict, payload) {
        (_, Verdict::Rejected(_), _) => None,
        (ItemKind::Delete, ..) => Some(Body::Delete),
        (ItemKind::Epoch, _, Some(bytes)) => Some(Body::Epoch { bytes }),
        (ItemKind::Create, _, Some(name)) => String::from_utf8(name).ok().map(|collection| Body::Create { collection }),
        (ItemKind::Change, _, Some(bytes)) => Some(Body::Change { bytes }),
        (ItemKind::Exclude, ..) | (_, _, None) => None,
    };
    Entry { header, body }
}
