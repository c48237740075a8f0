//! The end: no more faults, and everybody exchanges everything.

use sync_client_ffi::simulated::Disk;
use sync_core::ledger::Role;

use super::{Checked, World, broken};

/// Rounds in which everything has to be exchanged.
const ROUNDS_MAX: u32 = 40;
/// The longest that one may take.
const ROUND_MS: u64 = 120_000;

impl World {
    pub(super) fn come_to_rest(&mut self) -> Checked {
        self.calm = true;
        self.trace.note(format_args!("no more faults"));
        self.server_offset_ms = 0;
        // Whoever failed is started again; a power that was about to fail does not any more.
        self.server.kill();
        self.lines_break();
        self.server.start();
        self.go_to(self.now_ms);
        self.roles.values_mut().for_each(|role| *role = Role::Writer);
        self.set_roles();
        self.server_has_what_it_acknowledged()?;
        for at in 0..self.phones.len() {
            self.phones[at].set_disk(Disk::Fine);
            if !self.phones[at].gone && !self.phones[at].is_up() {
                self.start_phone(at)?;
            }
            (self.phones[at].sends, self.phones[at].hears) = (true, true);
        }
        let mut settled = 0;
        for _ in 0..ROUNDS_MAX {
            self.round()?;
            settled = if self.is_settled() { settled + 1 } else { 0 };
            // What the last one fetched may have made another one write anew.
            if settled == 2 {
                return self.all_holds();
            }
        }
        let standing: Vec<String> = (0..self.phones.len()).map(|at| self.standing(at)).collect();
        broken(
            7,
            format!(
                "it does not come to rest: {standing:?}, server {:?}",
                self.server.version(self.space).map(|it| it.0.seq)
            ),
        )
    }

    fn round(&mut self) -> Checked {
        let space = self.space;
        for at in 0..self.phones.len() {
            self.phones[at].with(self.now_ms, |phone| {
                let client = phone.client();
                client.set_foreground(true);
                client.add_space(space).ok();
                client.network_changed(true);
                phone.sync_now();
            });
            self.phones[at].foreground = true;
            self.settle(at)?;
        }
        let until_ms = self.now_ms + ROUND_MS;
        loop {
            let quiet = self.waiting.is_empty()
                && self.phones.iter_mut().all(|phone| {
                    !phone.token_comes && phone.with(self.now_ms, |phone| phone.is_quiet()).unwrap_or(true)
                });
            let Some(((at_ms, count), happening)) = self.events.pop_first() else { break };
            if quiet || at_ms > until_ms {
                self.events.insert((at_ms, count), happening);
                break;
            }
            self.go_to(at_ms);
            self.happen(happening)?;
        }
        // Requests of lives that are over are waited for by nobody.
        let lives: Vec<u64> = self.phones.iter().map(|phone| phone.life).collect();
        self.waiting.retain(|(phone, life, _)| lives[*phone] == *life);
        self.go_to(self.now_ms + 1_000);
        Ok(())
    }

    fn is_settled(&mut self) -> bool {
        let (now_ms, space) = (self.now_ms, self.space);
        let Some((head, _)) = self.server.version(space) else { return false };
        self.phones.iter_mut().filter(|phone| !phone.gone).all(|phone| {
            let settled = phone.with(now_ms, |phone| {
                let client = phone.client();
                client.wanted_device().is_none()
                    && client.log_position(space).is_ok_and(|seq| seq == head.seq)
                    && client
                        .pending(space)
                        .is_ok_and(|pending| (pending.journal_edits, pending.outbox_changes) == (0, 0))
            });
            settled == Some(true)
        })
    }

    fn standing(&mut self, at: usize) -> String {
        let (now_ms, space) = (self.now_ms, self.space);
        let standing = self.phones[at].with(now_ms, |phone| {
            let client = phone.client();
            format!(
                "phone {at}: {:?}, {:?}, at {:?}, wants {:?}",
                client.status(),
                client.pending(space),
                client.log_position(space),
                client.wanted_device()
            )
        });
        standing.unwrap_or_else(|| format!("phone {at}: off"))
    }
}
