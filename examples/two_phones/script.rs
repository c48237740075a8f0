//! What each phone types, keystroke by keystroke, and what must come out. Every process makes the same plan from the same
//! arguments, so a phone that was killed knows where it stands from the number of its durable edits alone.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use sync_examples::trace::Trace;

use crate::random::Random;

/// Typed by the first phone, at the start of the document.
const FIRST_TEXT: &str = include_str!("../../README.md");
/// Typed by the second phone, at its end.
const SECOND_TEXT: &str = include_str!("../../LICENSE-APACHE");
/// Stands in the document from the beginning, between the two.
const SEPARATOR: &str = "\n=====\n";
/// One letter of so many is mistyped at first.
const TYPO_EVERY: u64 = 24;
/// Edits a second on each phone, where two texts are typed: some thirty people at once.
const TEXT_RATE: u32 = 400;
/// With `--short`, each text ends after so many characters.
const SHORT_CHARACTERS: usize = 1_500;

/// What is played, as the command line says it.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// Replay a recorded editing trace (gzipped JSON) instead of typing two of the repository's texts
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Seed of everything that is random: typing errors, cuts and kills
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Type only the beginning of the two texts
    #[arg(long, conflicts_with = "trace")]
    pub short: bool,
    /// Edits a second on each phone; 0: as fast as its disk takes them. Two texts are typed at 400, traces at 0
    #[arg(long, value_name = "EDITS")]
    pub rate: Option<u32>,
}

impl Source {
    /// Edits a second; `None`: as fast as the disk takes them.
    pub fn rate(&self) -> Option<f64> {
        let rate = self.rate.unwrap_or(if self.trace.is_some() { 0 } else { TEXT_RATE });
        (rate > 0).then(|| f64::from(rate))
    }
}

/// Where a phone types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// So many characters behind the start.
    Start(u64),
    /// So many characters before the end, which moves as the other phone types.
    End(u64),
}

/// One replacement.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Where.
    pub place: Place,
    /// How many characters go.
    pub delete: u64,
    /// What comes in their place.
    pub insert: String,
}

/// What a phone does in one durable edit.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it must have seen of others first, if that is more than before: phones, and how many of their steps.
    pub merges: Vec<(usize, usize)>,
    /// What it types.
    pub patches: Vec<Patch>,
    /// Whether it counts a word, on the counter that all phones share.
    pub counts: bool,
}

/// All that one phone does.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// In this order.
    pub steps: Vec<Step>,
    /// After how many steps it must be possible for others to merge exactly what was done so far.
    pub points: BTreeSet<usize>,
}

impl Script {
    /// What the phone must have seen of others before that step, all merges until then together.
    pub fn seen_before(&self, step: usize) -> Vec<(usize, usize)> {
        let mut seen: Vec<(usize, usize)> = Vec::new();
        for (phone, count) in self.steps.iter().take(step + 1).flat_map(|step| &step.merges) {
            match seen.iter_mut().find(|(of, _)| of == phone) {
                Some((_, most)) => *most = *count,
                None => seen.push((*phone, *count)),
            }
        }
        seen
    }
}

/// The whole piece.
#[derive(Debug, Clone, Default)]
pub struct Play {
    /// What it is called, for people.
    pub title: String,
    /// The text before the first keystroke.
    pub start: String,
    /// The text behind the last, which every replica must hold.
    pub end: String,
    /// What the shared counter must read.
    pub words: i64,
    /// One for each phone.
    pub scripts: Vec<Script>,
    /// Whether phones may merge only what the script says, when it says so.
    pub held: bool,
}

impl Play {
    /// Makes the plan.
    pub fn new(source: &Source) -> Result<Self, Box<dyn Error>> {
        Ok(match &source.trace {
            Some(path) => of_trace(Trace::read(path)?, path.display().to_string()),
            None => of_texts(source),
        })
    }

    /// Durable edits in all.
    pub fn steps(&self) -> usize {
        self.scripts.iter().map(|script| script.steps.len()).sum()
    }

    /// Characters typed and deleted in all.
    pub fn keystrokes(&self) -> u64 {
        let steps = self.scripts.iter().flat_map(|script| &script.steps);
        let patches = steps.flat_map(|step| &step.patches);
        patches.map(|patch| patch.delete + patch.insert.chars().count() as u64).sum()
    }
}

fn of_texts(source: &Source) -> Play {
    let most = if source.short { SHORT_CHARACTERS } else { usize::MAX };
    let texts = [FIRST_TEXT, SECOND_TEXT].map(|text| text.chars().take(most).collect::<String>());
    let [first, second] = [0, 1].map(|phone| typed(&texts[phone], phone, source.seed));
    let words =
        texts.iter().map(|text| text.chars().filter(|character| character.is_whitespace()).count()).sum::<usize>();
    Play {
        title: "two of the repository's texts".into(),
        start: SEPARATOR.into(),
        end: [&texts[0], SEPARATOR, &texts[1]].concat(),
        words: words as i64,
        scripts: vec![first, second],
        held: false,
    }
}

/// A text as somebody types it who errs now and then, sees it, and corrects it.
fn typed(text: &str, phone: usize, seed: u64) -> Script {
    let mut random = Random::new(seed, phone as u64);
    let mut steps = Vec::new();
    let mut key = |at: u64, delete: u64, insert: String, counts: bool| {
        let place = if phone == 0 { Place::Start(at) } else { Place::End(delete) };
        steps.push(Step { merges: Vec::new(), patches: vec![Patch { place, delete, insert }], counts });
    };
    for (typed, character) in (0..).zip(text.chars()) {
        if character.is_ascii_lowercase() && random.within(0, TYPO_EVERY) == 0 {
            let wrong = char::from(b'a' + random.within(0, 26) as u8);
            key(typed, 0, wrong.into(), false);
            key(typed, 1, String::new(), false);
        }
        key(typed, 0, character.into(), character.is_whitespace());
    }
    Script { steps, points: BTreeSet::new() }
}

fn of_trace(trace: Trace, title: String) -> Play {
    // A trace of one writer has a reader for its second phone.
    let mut scripts = vec![Script::default(); trace.agents.max(2)];
    let mut seen = vec![vec![0; trace.agents]; trace.agents];
    for transaction in trace.transactions {
        let phone = transaction.agent;
        let mut merges = Vec::new();
        for (other, &count) in transaction.past.iter().enumerate() {
            if other != phone && count > seen[phone][other] {
                merges.push((other, count));
                scripts[other].points.insert(count);
                seen[phone][other] = count;
            }
        }
        let patches = transaction.patches.into_iter();
        let patches = patches
            .map(|patch| Patch { place: Place::Start(patch.at), delete: patch.delete, insert: patch.insert })
            .collect();
        scripts[phone].steps.push(Step { merges, patches, counts: false });
    }
    Play { title, start: trace.start, end: trace.end, words: 0, scripts, held: trace.agents > 1 }
}
