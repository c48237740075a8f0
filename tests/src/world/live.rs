//! Live connections as the network has them: each direction in order, and a frame that is lost is the end of its line.

use sync_client_ffi::stepped::{Answered, Asked};
use sync_core::limits::LIVE_OPEN_TIMEOUT_MS;
use sync_core::session::Ending;
use sync_core::wire::{self, LiveRequest, LiveResponse, PullAnswer};

use super::lines::{HEARTBEAT_MS, Heard, Key};
use super::{Checked, Happening, World, broken};

/// Something on its way on a live connection.
pub(super) enum Live {
    Open { key: Key, token: String },
    OpenPatience(Key),
    Said { key: Key, frame: Vec<u8> },
    HungUp(Key),
    Heard { key: Key, heard: Box<Heard> },
    Beat,
    Reads(usize),
}

impl World {
    /// A phone asks something of its live connection.
    pub(super) fn send_live(&mut self, phone: usize, asked: Asked) {
        let life = self.phones[phone].life;
        match asked {
            Asked::Open { ticket, token } => {
                let key = (phone, life, ticket);
                self.trace.note(format_args!("phone {phone} opens line {ticket}"));
                self.waiting.insert(key);
                self.after(LIVE_OPEN_TIMEOUT_MS, Happening::Live(Live::OpenPatience(key)));
                if self.phones[phone].sends && self.arrives() {
                    let delay_ms = self.way_ms();
                    self.after(delay_ms, Happening::Live(Live::Open { key, token: token.unwrap_or_default() }));
                }
            }
            Asked::Say { line, frame } => {
                let key = (phone, life, line);
                let bytes = wire::encode::<LiveRequest>(&frame).expect("a frame");
                self.trace.note(format_args!("phone {phone} says {} bytes on line {line}", bytes.len()));
                self.trace.add(&bytes);
                let sends = self.phones[phone].sends;
                self.in_order(key, true, sends, Live::Said { key, frame: bytes });
            }
            Asked::HangUp { line } => {
                let key = (phone, life, line);
                self.in_order(key, true, true, Live::HungUp(key));
            }
            Asked::Sync { .. } | Asked::Heal { .. } => {}
        }
    }

    fn arrives(&mut self) -> bool {
        self.calm || !self.network.chance(self.plan.weather.lost)
    }

    /// Puts something on a line behind what is on it. What is lost ends the line, though nobody is told.
    fn in_order(&mut self, key: Key, up: bool, passes: bool, live: Live) {
        // A stream repeats what is lost: that it gives up is rarer.
        let lost = !passes || (!self.calm && self.network.chance(self.plan.weather.lost / 8));
        if lost {
            self.doomed.insert(key);
        }
        if self.doomed.contains(&key) {
            return;
        }
        let at_ms = (self.now_ms + self.way_ms()).max(self.in_order.get(&(key, up)).copied().unwrap_or(0));
        self.in_order.insert((key, up), at_ms);
        self.at(at_ms, Happening::Live(live));
    }

    pub(super) fn live(&mut self, live: Live) -> Checked {
        match live {
            Live::Open { key, token } => {
                let opened = self.server.open(key, &token);
                if !self.phones[key.0].hears {
                    self.server.cut(key);
                    return Ok(());
                }
                let (phone, life, ticket) = key;
                let delay_ms = self.way_ms();
                self.trace.note(format_args!("server opens line {ticket} of phone {phone}: {}", opened.is_ok()));
                let answer = Answered::Open(opened);
                self.in_order.insert((key, false), self.now_ms + delay_ms);
                self.after(delay_ms, Happening::Answer { phone, life, ticket, answer });
                self.pump()
            }
            Live::OpenPatience((phone, life, ticket)) => {
                self.answered(phone, life, ticket, Answered::Open(Err(Ending::Lost)))
            }
            Live::Said { key, frame } => {
                if !self.doomed.contains(&key) {
                    self.server.say(key, frame);
                }
                self.pump()?;
                if self.server.has_failed() { self.server_dies() } else { Ok(()) }
            }
            Live::HungUp(key) => {
                self.server.cut(key);
                Ok(())
            }
            Live::Heard { key: (phone, life, line), heard } => {
                if self.phones[phone].life != life {
                    return Ok(());
                }
                self.trace.note(format_args!("phone {phone} hears on line {line}: {}", told(&heard)));
                self.phones[phone].with(self.now_ms, |phone| phone.hear(line, *heard));
                self.settle(phone)
            }
            Live::Beat => {
                self.server.beat();
                self.after(HEARTBEAT_MS, Happening::Live(Live::Beat));
                self.pump()
            }
            Live::Reads(phone) => {
                self.server.set_reads(phone, true);
                self.pump()
            }
        }
    }

    /// What the server has said since the last time is on its way.
    pub(super) fn pump(&mut self) -> Checked {
        for (key, heard) in self.server.pump() {
            self.goes_on(key, &heard)?;
            let hears = self.phones[key.0].hears;
            self.in_order(key, false, hears, Live::Heard { key, heard: Box::new(heard) });
        }
        Ok(())
    }

    /// Promise 9: what comes by itself goes on from what was sent before, however slowly it is read.
    fn goes_on(&mut self, key: Key, heard: &Heard) -> Checked {
        let (page, by_itself) = match heard {
            Ok(LiveResponse::Page { page, .. }) => (page, true),
            Ok(LiveResponse::Answer { pull: Some(PullAnswer::Page(page)), .. }) => (page, false),
            _ => return Ok(()),
        };
        let sent = self.shown.entry(key).or_default();
        let after = page.next.seq - page.entries.0.len() as u64;
        if by_itself && after > *sent {
            let (phone, _, line) = key;
            let what = format!("line {line} of phone {phone} had the log up to {sent}, and goes on behind {after}");
            return broken(9, what);
        }
        *sent = page.next.seq.max(*sent);
        Ok(())
    }

    /// All connections break.
    pub(super) fn lines_break(&mut self) {
        for at in 0..self.phones.len() {
            let life = self.phones[at].life;
            for ((key, up), _) in self.in_order.clone() {
                if !up && key.0 == at && key.1 == life {
                    self.in_order(key, false, true, Live::Heard { key, heard: Box::new(Err(Ending::Lost)) });
                    self.doomed.insert(key);
                }
            }
        }
    }
}

fn told(heard: &Heard) -> String {
    match heard {
        Ok(frame) => format!("{frame:?}").chars().take_while(|letter| letter.is_alphanumeric()).collect(),
        Err(ending) => format!("{ending:?}"),
    }
}
