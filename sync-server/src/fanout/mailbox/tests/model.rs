//! Anything in any order: what the receiver gets of each log has no hole, nothing twice, and in the end all of it.

use std::collections::BTreeMap;

use super::*;

const SPACES: [SpaceId; 3] = [SPACE, OTHER, SpaceId::from_bytes([3; 16])];

/// Numbers that only look random, the same for each seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % sides
    }

    fn space(&mut self) -> SpaceId {
        SPACES[self.roll(SPACES.len())]
    }
}

/// The logs as the database has them, a mailbox, and what its receiver has.
struct Model {
    dice: Dice,
    mailbox: Mailbox,
    logs: BTreeMap<SpaceId, u64>,
    /// Where the receiver is in what it follows.
    receiver: BTreeMap<SpaceId, u64>,
    /// First pages that it has not received yet, by the number of their answer.
    first: BTreeMap<u64, (SpaceId, u64)>,
    answers: u64,
    reading: Option<Behind>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let logs = SPACES.into_iter().map(|space| (space, 0)).collect();
        let (receiver, first) = (BTreeMap::new(), BTreeMap::new());
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { dice, mailbox: Mailbox::new("ann", READER), logs, receiver, first, answers: 0, reading: None }
    }

    fn commit(&mut self, space: SpaceId, device: DeviceId) {
        let log = self.logs.get_mut(&space).unwrap();
        *log += 1;
        let bytes = if self.dice.roll(10) == 0 { 20_000 } else { 100 };
        match self.dice.roll(10) {
            0 => {}
            1 => {
                let receipt = Receipt::from_hash(Hash([0; 32]));
                let large =
                    Notice { space, from: at(*log - 1), next: at(*log), receipt, entries: None, received_ms: None };
                self.mailbox.offer(&Arc::new(Parcel::new(large)));
            }
            _ => self.mailbox.offer(&notice(space, *log, device, bytes)),
        }
    }

    fn follow(&mut self, space: SpaceId) {
        assert!(self.mailbox.follow(space, 8));
        // What was under way of an earlier life never arrives.
        self.receiver.remove(&space);
        self.first.retain(|_, (of, _)| *of != space);
        let next = self.logs[&space] - self.dice.roll(1 + self.logs[&space] as usize) as u64;
        if self.dice.roll(2) == 0 {
            self.commit(space, WRITER);
        }
        self.answers += 1;
        self.first.insert(self.answers, (space, next));
        let first = First { next: at(next), more: next < self.logs[&space], wish: Wish::default() };
        self.mailbox.followed(space, first, pong(self.answers), 100);
    }

    fn push(&mut self, space: SpaceId) {
        self.mailbox.begin_push(space);
        for _ in 0..self.dice.roll(3) {
            self.commit(space, WRITER);
        }
        self.commit(space, READER);
        for _ in 0..self.dice.roll(3) {
            self.commit(space, WRITER);
        }
        if self.dice.roll(4) == 0 {
            self.mailbox.end_push(space);
        } else {
            self.mailbox.pushed(0, space, answered(), 100);
        }
    }

    fn begin_reading(&mut self) {
        if self.reading.is_none() {
            self.reading = behind(&self.mailbox);
        }
    }

    fn finish_reading(&mut self) {
        let Some(behind) = self.reading.take() else { return };
        if self.dice.roll(5) == 0 {
            return self.mailbox.unread(behind);
        }
        let (from, head) = (behind.since.seq, self.logs[&behind.space]);
        let to = head.min(from + 1 + self.dice.roll(4) as u64);
        self.mailbox.read(behind, page(from, to, to < head), 2_000);
    }

    /// Receives one thing; `false` where nothing waits.
    fn receive(&mut self) -> bool {
        let Some(outgoing) = take(&self.mailbox) else { return false };
        match outgoing {
            Outgoing::Page(parcel) => self.got(parcel.space(), parcel.from().seq, parcel.next().seq),
            Outgoing::LogPage(space, page) => {
                let entries = page.entries.0.len() as u64;
                self.got(space, page.next.seq - entries, page.next.seq);
            }
            Outgoing::Answer(Answer::Pushed { log, .. }) => {
                for parcel in log {
                    self.got(parcel.space(), parcel.from().seq, parcel.next().seq);
                }
            }
            Outgoing::Answer(Answer::Whole(response)) => {
                let LiveResponse::Pong { nonce } = *response else { panic!("{response:?}") };
                // Of a life that was begun anew before its page arrived, if it is not known any more.
                self.receiver.extend(self.first.remove(&nonce));
            }
            Outgoing::Beat(_) | Outgoing::Presence(..) => {}
        }
        true
    }

    fn got(&mut self, space: SpaceId, from: u64, to: u64) {
        let at = self.receiver.get_mut(&space).expect("a page of what is followed, after its first");
        assert_eq!(*at, from, "it continues what came before");
        *at = to;
    }

    fn step(&mut self) {
        let space = self.dice.space();
        match self.dice.roll(20) {
            0..=5 => self.commit(space, WRITER),
            6 => self.commit(space, READER),
            7 | 8 => self.push(space),
            9 => self.mailbox.learn(space, at(self.logs[&space])),
            10 => self.mailbox.learn(space, at(self.logs[&space] / 2)),
            11 => show(&self.mailbox, space, WRITER, 100),
            12 => self.mailbox.beat(),
            13 if self.dice.roll(3) == 0 => self.follow(space),
            14 if self.dice.roll(6) == 0 => {
                self.mailbox.unfollow(space);
                self.receiver.remove(&space);
                self.first.retain(|_, (of, _)| *of != space);
            }
            15 => self.begin_reading(),
            16 => self.finish_reading(),
            _ => {
                self.receive();
            }
        }
        assert!(self.mailbox.bytes() <= LIVE_QUEUE_BYTES_MAX + LIVE_PAGE_BYTES_MAX);
    }

    /// The heartbeat comes, and the receiver takes all there is.
    fn settle(&mut self) {
        for space in SPACES {
            self.mailbox.learn(space, at(self.logs[&space]));
        }
        loop {
            while self.receive() {}
            self.begin_reading();
            if self.reading.is_none() {
                break;
            }
            self.finish_reading();
        }
        assert_eq!(self.mailbox.bytes(), 0);
        for (space, at) in &self.receiver {
            assert_eq!(*at, self.logs[space], "nothing is lost");
        }
        assert_eq!(self.mailbox.spaces(), self.receiver.keys().copied().collect::<Vec<_>>());
    }
}

#[test]
fn whatever_happens() {
    for seed in 1..=100 {
        let mut model = Model::new(seed);
        // Some never receive anything for long, and overflow.
        for _ in 0..10 {
            for _ in 0..100 {
                model.step();
            }
            for _ in 0..model.dice.roll(150) {
                let space = model.dice.space();
                model.commit(space, WRITER);
            }
            model.settle();
        }
    }
}
