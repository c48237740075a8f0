//! The network between phones and the server: frames are lost, come twice, late, or in another order.

use sync_client_ffi::Status;
use sync_client_ffi::stepped::{Answered, Asked};
use sync_core::limits::REQUEST_TIMEOUT_MS;
use sync_core::session::Failure;
use sync_core::wire::{self, ErrorCode, HealResponse, SyncResponse};

use super::server::Reply;
use super::{Checked, Happening, World};

/// What a phone's request is.
#[derive(Clone)]
pub(super) struct Request {
    phone: usize,
    life: u64,
    ticket: u64,
    path: &'static str,
    token: String,
    body: Vec<u8>,
}

/// How late what is very late comes.
const LATE_MS: u64 = 60_000;

impl World {
    /// A phone asks something of the network.
    pub(super) fn send(&mut self, phone: usize, asked: Asked) {
        let life = self.phones[phone].life;
        let (ticket, path, token, body) = match asked {
            Asked::Sync { ticket, request, token } => (ticket, "/v1/sync", token, wire::encode(&*request)),
            Asked::Heal { ticket, request, token } => (ticket, "/v1/heal", token, wire::encode(&*request)),
            Asked::Open { .. } | Asked::Say { .. } | Asked::HangUp { .. } => return self.send_live(phone, asked),
        };
        let body = body.expect("a frame");
        self.trace.note(format_args!("phone {phone} asks {path} {ticket}, {} bytes", body.len()));
        self.trace.add(&body);
        self.waiting.insert((phone, life, ticket));
        self.after(REQUEST_TIMEOUT_MS, Happening::Patience { phone, life, ticket });
        let request = Request { phone, life, ticket, path, token: token.unwrap_or_default(), body };
        if !self.phones[phone].sends {
            return;
        }
        for _ in 0..self.copies() {
            let delay_ms = self.way_ms();
            self.after(delay_ms, Happening::Reach(request.clone()));
        }
    }

    /// How often a frame comes.
    fn copies(&mut self) -> u64 {
        if self.calm {
            return 1;
        }
        let weather = self.plan.weather;
        if self.network.chance(weather.lost) { 0 } else { 1 + u64::from(self.network.chance(weather.doubled)) }
    }

    pub(super) fn way_ms(&mut self) -> u64 {
        let weather = self.plan.weather;
        if !self.calm && self.network.chance(weather.late) {
            return self.network.within(0, LATE_MS);
        }
        // In steps, so that now and then several come at once.
        (weather.fastest_ms + self.network.within(0, weather.spread_ms)) / 10 * 10
    }

    /// Requests reach the server; those that come at the same moment together.
    pub(super) fn reach(&mut self, first: Request) -> Checked {
        let mut requests = vec![first];
        while let Some(next) = self.events.first_entry() {
            if next.key().0 > self.now_ms || !matches!(next.get(), Happening::Reach(_)) {
                break;
            }
            if let Happening::Reach(request) = next.remove() {
                requests.push(request);
            }
        }
        let asked = requests.iter().map(|request| (request.path, request.token.clone(), request.body.clone()));
        let replies = self.server.ask(asked.collect());
        let failed = self.server.has_failed();
        if failed {
            self.trace.note(format_args!("server: the power fails"));
        }
        for (request, reply) in requests.into_iter().zip(replies) {
            let Request { phone, life, ticket, path, .. } = request;
            // Who is dead says nothing; what it had said before is on its way.
            let reply = reply.filter(|reply| !failed || reply.is_ok());
            let Some(reply) = reply else { continue };
            let what = match &reply {
                Ok(body) => format!("{} bytes", body.len()),
                Err(code) => format!("{code:?}"),
            };
            self.trace.note(format_args!("server answers phone {phone} {path} {ticket}: {what}"));
            if !self.phones[phone].hears {
                continue;
            }
            for _ in 0..self.copies() {
                let (delay_ms, answer) = (self.way_ms(), answer_of(path, &reply));
                self.after(delay_ms, Happening::Answer { phone, life, ticket, answer });
            }
        }
        if failed {
            return self.server_dies();
        }
        if self.plan.live { self.pump() } else { Ok(()) }
    }

    pub(super) fn answered(&mut self, phone: usize, life: u64, ticket: u64, answer: Answered) -> Checked {
        if self.phones[phone].life != life || !self.waiting.remove(&(phone, life, ticket)) {
            return Ok(());
        }
        self.trace.note(format_args!("phone {phone} hears {ticket}"));
        self.phones[phone].with(self.now_ms, |phone| phone.answer(ticket, answer));
        self.settle(phone)
    }

    pub(super) fn out_of_patience(&mut self, phone: usize, life: u64, ticket: u64) -> Checked {
        // Whether a request was one to heal makes no difference where it fails.
        self.answered(phone, life, ticket, Answered::Sync(Err(Failure::Unreachable)))
    }

    /// A phone that lacks a token gets one after a while.
    pub(super) fn want_token(&mut self, at: usize) {
        let now_ms = self.now_ms;
        let phone = &mut self.phones[at];
        if phone.token_comes {
            return;
        }
        let wants = phone.with(now_ms, |phone| {
            phone.client().status() == Status::NeedsAuth || phone.client().wanted_device().is_some()
        });
        if wants == Some(true) {
            phone.token_comes = true;
            let life = phone.life;
            let delay_ms = self.network.within(100, 3_000);
            self.after(delay_ms, Happening::Token { phone: at, life });
        }
    }

    pub(super) fn token_comes(&mut self, at: usize, life: u64) -> Checked {
        let (now_ms, phone) = (self.now_ms, &mut self.phones[at]);
        if phone.life != life {
            return Ok(());
        }
        let device = phone.with(now_ms, |phone| phone.client().wanted_device().unwrap_or(phone.client().device()));
        let Some(device) = device else { return Ok(()) };
        phone.token_comes = false;
        let Some(token) = self.server.token(&phone.user, device) else {
            self.want_token(at);
            return Ok(());
        };
        self.owners.insert(device, phone.user.clone());
        phone.with(now_ms, |phone| phone.client().set_token(token));
        self.trace.note(format_args!("phone {at} has a token for {device}"));
        self.settle(at)
    }
}

fn answer_of(path: &str, reply: &Reply) -> Answered {
    let failure = |code: ErrorCode| Failure::Refused { code, retry_after_ms: None };
    match (path, reply) {
        ("/v1/heal", Ok(body)) => {
            Answered::Heal(wire::decode::<HealResponse>(body).map(Box::new).map_err(|_| Failure::Unreachable))
        }
        ("/v1/heal", Err(code)) => Answered::Heal(Err(failure(*code))),
        (_, Ok(body)) => {
            Answered::Sync(wire::decode::<SyncResponse>(body).map(Box::new).map_err(|_| Failure::Unreachable))
        }
        (_, Err(code)) => Answered::Sync(Err(failure(*code))),
    }
}
