//! What goes wrong: phones, the server, the network, clocks and disks.

use sync_client_ffi::simulated::Disk;
use sync_core::ledger::Role;

use super::acts::failing;
use super::live::Live;
use super::phone::SimPhone;
use super::plan::Kind;
use super::rng::Rng;
use super::{Checked, Happening, World, broken, templates};

/// Ten years.
const YEARS_MS: i64 = 10 * 365 * 86_400_000;
/// Phones that there may be at all.
const PHONES_MAX: usize = 6;

/// Changes of which one is excluded.
const NEWEST: usize = 12;

impl World {
    pub(super) fn fault(&mut self, kind: Kind, at: usize, rng: &mut Rng) -> Checked {
        match kind {
            Kind::SyncNow => {
                self.phones[at].with(self.now_ms, |phone| phone.sync_now());
                return self.settle(at);
            }
            Kind::Foreground => {
                let foreground = !self.phones[at].foreground;
                self.phones[at].foreground = foreground;
                self.phones[at].with(self.now_ms, |phone| phone.client().set_foreground(foreground));
                return self.settle(at);
            }
            Kind::Partition => {
                let ways = rng.within(1, 3);
                (self.phones[at].sends, self.phones[at].hears) = (ways & 1 == 0, ways & 2 == 0);
                let noticed = rng.chance(500);
                if noticed {
                    self.phones[at].with(self.now_ms, |phone| phone.client().network_changed(false));
                }
                self.after(rng.within(1, 10) * self.plan.pause_ms, Happening::NetworkHeals(at));
                return self.settle(at);
            }
            Kind::PhoneCrash => return self.phone_dies(at),
            Kind::PhonePower => self.phones[at].set_disk(failing(rng)),
            Kind::DiskFull => {
                self.phones[at].set_disk(Disk::Full);
                self.after(rng.within(1, 10) * self.plan.pause_ms, Happening::DiskHeals(at));
            }
            Kind::PhoneClock => self.phones[at].move_clock(if rng.chance(500) { YEARS_MS } else { -YEARS_MS }),
            Kind::PhoneBackup => {
                // Now and then in the middle of typing.
                if rng.chance(500) {
                    self.edit(at, rng);
                }
                let marks = self.model.marks.len() as u64;
                if self.phones[at].is_up() {
                    self.phones[at].back_up(marks);
                }
                return self.settle(at);
            }
            Kind::PhoneRestore => return self.restore_phone(at),
            Kind::Clone => return self.clone_phone(at),
            Kind::PhoneGone => self.phone_goes(at),
            Kind::ServerCrash => return self.server_dies(),
            Kind::ServerPower => self.server.fail_after(rng.within(0, 6)),
            Kind::ServerBackup if self.server.is_up() => self.server.back_up(),
            Kind::ServerRestore if self.server.put_back() => {
                self.model.server_loses();
                self.trace.note(format_args!("server: restored from a backup"));
                return self.server_dies();
            }
            Kind::ServerClock => {
                self.server_offset_ms = if self.server_offset_ms == 0 { YEARS_MS } else { 0 };
                self.go_to(self.now_ms);
            }
            Kind::Compact => return self.compact(None),
            Kind::CompactPower => return self.compact(Some(rng.within(0, 12))),
            Kind::Exclude => return self.exclude(rng),
            Kind::Role => {
                let users: Vec<String> = self.roles.keys().cloned().collect();
                let Some(user) = rng.pick(&users).cloned() else { return Ok(()) };
                let role = match self.roles[&user] {
                    Role::Reader => Role::Writer,
                    _ => Role::Reader,
                };
                self.model.roles_changed = true;
                self.roles.insert(user, role);
                self.set_roles();
            }
            Kind::SlowReader => {
                self.server.set_reads(at, false);
                self.after(rng.within(1, 10) * self.plan.pause_ms, Happening::Live(Live::Reads(at)));
            }
            Kind::Attack => return self.attack(rng),
            Kind::TokenExpires => {
                self.phones[at].with(self.now_ms, |phone| phone.client().set_token("expired"));
                return self.settle(at);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn start_phone(&mut self, at: usize) -> Checked {
        let (now_ms, space) = (self.now_ms, self.space);
        if let Err(error) = self.phones[at].start(now_ms, space) {
            if self.phones[at].has_failed() {
                return self.phone_dies(at);
            }
            return broken(1, format!("phone {at}: its store does not open: {error}"));
        }
        self.trace.note(format_args!("phone {at} is on"));
        self.holds_its_own(at)?;
        self.settle(at)
    }

    #[allow(clippy::unnecessary_wraps, reason = "it ends a step, and other ends may find something broken")]
    pub(super) fn phone_dies(&mut self, at: usize) -> Checked {
        if self.phones[at].is_up() || self.phones[at].has_failed() {
            self.phones[at].kill();
            self.trace.note(format_args!("phone {at} is off"));
            let off_ms = self.network.within(1, 3) * self.plan.pause_ms;
            self.after(off_ms, Happening::PhoneStart(at));
        }
        Ok(())
    }

    pub(super) fn network_heals(&mut self, at: usize) -> Checked {
        (self.phones[at].sends, self.phones[at].hears) = (true, true);
        self.phones[at].with(self.now_ms, |phone| phone.client().network_changed(true));
        self.settle(at)
    }

    #[allow(clippy::unnecessary_wraps, reason = "it ends a step, and other ends may find something broken")]
    fn restore_phone(&mut self, at: usize) -> Checked {
        let Some(marks) = self.phones[at].backup else { return Ok(()) };
        self.trace.note(format_args!("phone {at}: restored from a backup"));
        self.loses(at, marks);
        self.phones[at].kill();
        self.phones[at].put_back();
        self.after(self.plan.pause_ms, Happening::PhoneStart(at));
        Ok(())
    }

    /// Whether the server has everything that a phone wrote.
    fn has_sent(&mut self, at: usize) -> bool {
        let (now_ms, space) = (self.now_ms, self.space);
        let sent = self.phones[at].with(now_ms, |phone| {
            let client = phone.client();
            client.wanted_device().is_none()
                && client.pending(space).is_ok_and(|pending| (pending.journal_edits, pending.outbox_changes) == (0, 0))
                && client.quarantine(space).is_ok_and(|kept| kept.is_empty())
        });
        sent == Some(true)
    }

    /// What a phone wrote from that mark on goes with its disk, but for what others hold.
    fn loses(&mut self, at: usize, from: u64) {
        if !self.has_sent(at) || self.model.server_lost {
            self.model.doubt(at, from);
        } else {
            // Should the server lose it later, nobody may be left who has it.
            self.model.hangs_on_others(at, from);
        }
    }

    fn clone_phone(&mut self, at: usize) -> Checked {
        if self.phones.len() >= PHONES_MAX || !self.phones[at].is_up() {
            return Ok(());
        }
        // In most worlds a copy is made of what is sent.
        let sent = self.has_sent(at);
        if !sent && !self.case.seed.is_multiple_of(8) {
            return Ok(());
        }
        let (next, base) = (self.phones.len(), templates().folder.path());
        let folder = self.folder.join(format!("phone{next}"));
        let clone = SimPhone::clone_of(&self.phones[at], self.case.seed, next, &base.join("phone"), folder);
        self.trace.note(format_args!("phone {next} is a copy of phone {at}"));
        self.phones.push(clone);
        self.model.copied_unsent |= !sent;
        self.start_phone(next)
    }

    fn phone_goes(&mut self, at: usize) {
        if self.phones.iter().filter(|phone| !phone.gone).count() <= 2 {
            return;
        }
        self.loses(at, 0);
        self.phones[at].kill();
        self.phones[at].gone = true;
    }

    #[allow(clippy::unnecessary_wraps, reason = "it ends a step, and other ends may find something broken")]
    pub(super) fn server_dies(&mut self) -> Checked {
        self.server.kill();
        self.lines_break();
        self.trace.note(format_args!("server is off"));
        let off_ms = self.network.within(1, 3) * self.plan.pause_ms;
        self.after(off_ms, Happening::ServerStart);
        Ok(())
    }

    pub(super) fn start_server(&mut self) -> Checked {
        if self.server.is_up() {
            return Ok(());
        }
        self.server.start();
        self.go_to(self.now_ms);
        self.set_roles();
        self.trace.note(format_args!("server is on"));
        self.server_has_what_it_acknowledged()
    }

    /// Excludes one of the newest changes that no snapshot holds.
    fn exclude(&mut self, rng: &mut Rng) -> Checked {
        let changes = self.server.changes(self.space);
        let newest = &changes[changes.len().saturating_sub(NEWEST)..];
        let Some((doc, bytes)) = rng.pick(newest).cloned() else { return Ok(()) };
        let Ok(guarded) = sync_core::guard::inspect(&bytes) else { return Ok(()) };
        // It may be there though the power failed.
        self.model.papers.entry(doc).or_default().excluded = true;
        let done = self.server.exclude(self.space, doc, guarded.hash);
        self.trace.note(format_args!("server excludes {} of {doc}: {done}", guarded.hash));
        if self.server.has_failed() { self.server_dies() } else { Ok(()) }
    }

    fn compact(&mut self, power: Option<u64>) -> Checked {
        if let Some(writes) = power {
            self.server.fail_after(writes);
        }
        let done = self.server.compact();
        self.trace.note(format_args!("server compacts: {done}"));
        if self.server.has_failed() { self.server_dies() } else { Ok(()) }
    }
}
