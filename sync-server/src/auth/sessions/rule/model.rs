//! Phones that play by the rules, on nodes whose clocks differ, over a network that loses, delays and doubles what it likes;
//! and a thief. Nobody is logged out who has been robbed of nothing, and no thief stays in.
//!
//! A phone plays by the rules if it asks again with the same token until it has an answer, and after an answer takes a minute
//! before it refreshes anew. The network plays by them if something of what is sent within half a minute comes through, both
//! ways, and nothing is under way for longer.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::id::Hash;

use super::*;

const REPEAT_MS: u64 = 30_000;
const LIFETIME_MS: u64 = 30 * 86_400_000;
const NODES: u64 = 3;
const INTERLEAVINGS: u64 = 1_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

fn id(number: u64) -> DeviceId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    DeviceId::from_bytes(bytes)
}

/// A phone, or the thief.
const THIEF: u64 = 99;

/// What happens at a time; those of one time in any order.
#[derive(Debug, Clone)]
enum Step {
    /// A phone sends its token.
    Send { phone: u64, try_of: u64, last: bool },
    /// A node has read the row, and acts upon what it read.
    Act { by: u64, of: u64, n: u64, node: u64, read: Box<Session>, answer_lost: bool },
    /// An answer comes.
    Hear { by: u64, of: u64, sent: u64, answer: Verdict, n: u64 },
    /// The thief uses what it has.
    Steal { of: u64 },
}

struct Phone {
    n: u64,
    /// Which refresh it is at, and whether that was answered.
    refresh: u64,
    answered: bool,
}

struct World {
    random: Random,
    now_ms: u64,
    skews: Vec<u64>,
    rows: BTreeMap<u64, Session>,
    phones: BTreeMap<u64, Phone>,
    queue: BTreeMap<(u64, u64), Step>,
    /// What was ever given out for a token of a phone.
    successors: BTreeMap<(u64, u64), BTreeSet<u64>>,
    /// Whose token was stolen, and what the thief has.
    loot: Option<(u64, u64)>,
    robbed: Option<u64>,
    repeats: u64,
    thefts: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let skews = (0..NODES).map(|_| random.below(CLOCK_SKEW_MS + 1)).collect();
        let mut world = Self {
            random,
            now_ms: 1_000_000,
            skews,
            rows: BTreeMap::new(),
            phones: BTreeMap::new(),
            queue: BTreeMap::new(),
            successors: BTreeMap::new(),
            loot: None,
            robbed: None,
            repeats: 0,
            thefts: 0,
        };
        for phone in 0..=world.random.below(4) {
            let now_ms = world.now_ms;
            let row = Session {
                device: id(phone),
                nonce: [0; 16],
                n: 1,
                token_hash: Hash([0; 32]),
                rotated_ms: now_ms,
                expires_ms: now_ms + LIFETIME_MS,
                ended: None,
                public_key: None,
            };
            world.rows.insert(phone, row);
            world.phones.insert(phone, Phone { n: 1, refresh: 0, answered: true });
            world.begin(phone, 0);
        }
        world
    }

    fn at(&mut self, after_ms: u64, step: Step) {
        let order = self.random.next();
        self.queue.insert((self.now_ms + after_ms, order), step);
    }

    /// A refresh: some tries within less than half a minute, the last of which comes through.
    fn begin(&mut self, phone: u64, after_ms: u64) {
        let Some(state) = self.phones.get_mut(&phone) else { return };
        state.refresh += 1;
        state.answered = false;
        let try_of = state.refresh;
        let races = self.random.one_in(5);
        for _ in 0..if races { 50 } else { self.random.below(6) } {
            let sent = if races { self.random.below(20) } else { self.random.below(28_000) };
            self.at(after_ms + sent, Step::Send { phone, try_of, last: false });
        }
        self.at(after_ms + 28_000, Step::Send { phone, try_of, last: true });
    }

    /// A request on its way to a node. Nothing is under way for longer than it may take for the rules.
    fn send(&mut self, by: u64, of: u64, n: u64, lossless: bool) {
        if !lossless && self.random.one_in(3) {
            return;
        }
        let (node, answer_lost) = (self.random.below(NODES), !lossless && self.random.one_in(2));
        let (there, thinking) = (self.random.below(900), self.random.below(900));
        // Reading and acting are two things: others act in between.
        let read = Box::new(self.rows[&of].clone());
        self.at(there + thinking, Step::Act { by, of, n, node, read, answer_lost });
    }

    fn act(&mut self, by: u64, of: u64, n: u64, node: u64, read: &Session, answer_lost: bool) {
        let now_ms = self.now_ms + self.skews[node as usize];
        let device = if by == THIEF && self.random.one_in(2) { id(THIEF) } else { read.device };
        let presented = Presented { n, is_genuine: true, device, is_proved: false };
        let verdict = decide(read, presented, now_ms, REPEAT_MS);
        let row = self.rows.get_mut(&of).unwrap();
        let given = match verdict {
            Verdict::Rotate(next) => {
                if row.n != read.n || row.ended.is_some() {
                    // Somebody was faster: it is read again.
                    let read = Box::new(row.clone());
                    return self.at(0, Step::Act { by, of, n, node, read, answer_lost });
                }
                (row.n, row.rotated_ms, row.expires_ms) = (next, now_ms, now_ms + LIFETIME_MS);
                next
            }
            Verdict::Repeat => {
                self.repeats += 1;
                read.n
            }
            Verdict::Theft => {
                self.thefts += 1;
                row.ended = row.ended.or(Some(Why::Theft));
                0
            }
            _ => 0,
        };
        if given > 0 {
            let successors = self.successors.entry((of, n)).or_default();
            successors.insert(given);
            assert_eq!(successors.len(), 1, "two successors of token {n} of phone {of}");
        } else if self.robbed != Some(of) {
            panic!("phone {of} was refused though nobody robbed it: {verdict:?} for token {n} of {read:?} at {now_ms}");
        }
        if !answer_lost {
            let back = self.random.below(900);
            self.at(back, Step::Hear { by, of, sent: n, answer: verdict, n: given });
        }
    }

    fn hear(&mut self, by: u64, of: u64, sent: u64, answer: Verdict, given: u64) {
        let refused = !matches!(answer, Verdict::Rotate(_) | Verdict::Repeat);
        if by == THIEF {
            self.loot = self.loot.and_then(|(of, n)| if refused { None } else { Some((of, given.max(n))) });
            return;
        }
        // Whoever is logged out listens no more.
        let Some(phone) = self.phones.get_mut(&of) else { return };
        if phone.answered || phone.n != sent {
            return;
        }
        if refused {
            self.phones.remove(&of);
            return;
        }
        phone.answered = true;
        phone.n = given;
        let pause = 60_000 + self.random.below(900_000);
        self.begin(of, pause);
    }

    fn steal(&mut self, of: u64) {
        let Some(phone) = self.phones.get(&of) else { return };
        self.robbed = Some(of);
        // Any token that it ever had, in particular the current one.
        let n = if self.random.one_in(2) { phone.n } else { 1 + self.random.below(phone.n) };
        let (_, n) = *self.loot.get_or_insert((of, n));
        self.send(THIEF, of, n, true);
        let again = 60_000 + self.random.below(600_000);
        self.at(again, Step::Steal { of });
    }

    fn run(&mut self, until_ms: u64) {
        while let Some(((at_ms, _), step)) = self.queue.pop_first() {
            if at_ms > until_ms {
                return;
            }
            self.now_ms = at_ms;
            match step {
                Step::Send { phone, try_of, last } => {
                    let Some(state) = self.phones.get(&phone) else { continue };
                    if state.refresh == try_of && !state.answered {
                        let n = state.n;
                        self.send(phone, phone, n, last);
                    }
                }
                Step::Act { by, of, n, node, read, answer_lost } => self.act(by, of, n, node, &read, answer_lost),
                Step::Hear { by, of, sent, answer, n } => self.hear(by, of, sent, answer, n),
                Step::Steal { of } => self.steal(of),
            }
        }
    }
}

#[test]
fn nobody_who_plays_by_the_rules_is_logged_out_over_1000_interleavings() {
    let (mut repeats, mut refreshes) = (0, 0);
    for seed in 0..INTERLEAVINGS {
        let mut world = World::new(seed);
        world.run(world.now_ms + 4 * 3_600_000);
        assert!(world.rows.values().all(|row| row.ended.is_none()) && world.thefts == 0, "seed {seed}");
        for (number, phone) in &world.phones {
            assert!(phone.refresh > 5, "phone {number} of seed {seed} goes on");
            // What it has is good, or it is asking just now.
            assert!(phone.n == world.rows[number].n || !phone.answered, "seed {seed}");
        }
        repeats += world.repeats;
        refreshes += world.phones.values().map(|phone| phone.refresh).sum::<u64>();
    }
    assert!(repeats > refreshes / 4, "answers were lost: {repeats} repeats in {refreshes} refreshes");
}

#[test]
fn a_stolen_token_ends_its_family_and_no_other_over_1000_interleavings() {
    for seed in 0..INTERLEAVINGS {
        let mut world = World::new(seed);
        let theft_at = world.random.below(2 * 3_600_000);
        world.at(theft_at, Step::Steal { of: 0 });
        world.run(world.now_ms + 6 * 3_600_000);
        assert_eq!(world.rows[&0].ended, Some(Why::Theft), "seed {seed}: thief and phone both went on");
        assert!(world.thefts >= 1);
        assert!(
            world.rows.iter().all(|(phone, row)| *phone == 0 || row.ended.is_none()),
            "seed {seed}: and nobody else"
        );
    }
}
