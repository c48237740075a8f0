//! The session with a server that lost data: what it asks for, and when it stops.

use sync_core::heal::TakenBack;
use sync_core::id::SpaceId;
use sync_core::limits::HEALS_IN_A_ROW_MAX;
use sync_core::log::Cursor;
use sync_core::session::{
    Collected, Effect, Event, Failure, HealStep, HealWork, Session, Status, StoreOutcome, Trouble, Window,
};
use sync_core::wire::{ErrorCode, HealRequest, HealResponse, PullAnswer, SCHEMA, SyncResponse};

use crate::cases::SPACE;

const NOW_MS: u64 = 1_000;

struct Phone(Session);

impl Phone {
    fn new(session: Session) -> Self {
        let mut phone = Self(session);
        let effects = phone.tell(Event::SpaceAdded(SPACE));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Collect { .. })), "{effects:?}");
        phone
    }

    fn tell(&mut self, event: Event) -> Vec<Effect> {
        self.0.handle(event, NOW_MS, &mut || 100)
    }

    /// Up to where the store finds that the server's log is another one.
    fn diverge(&mut self) -> Vec<Effect> {
        let cursor = Some(Cursor::start(SPACE));
        let effects = self
            .tell(Event::Collected(SPACE, Collected { run: None, cursor, own: false, snapshots: None, wish: None }));
        let id = effects.iter().find_map(|effect| if let Effect::Send { id, .. } = effect { Some(*id) } else { None });
        let pull = Some(PullAnswer::Diverged { head: Cursor::start(SPACE) });
        let response = Box::new(SyncResponse { schema: SCHEMA, push: None, pull, snapshot: None });
        self.tell(Event::Answered(id.expect("a request"), Ok(response)));
        self.tell(Event::Stored(SPACE, StoreOutcome::Diverged))
    }

    fn ask(&mut self) -> u64 {
        let request = HealRequest { schema: SCHEMA, space: SPACE, places: vec![1], lost: None };
        let effects = self.tell(Event::Heal(SPACE, HealStep::Ask(Box::new(request))));
        let id = effects.iter().find_map(|effect| if let Effect::Ask { id, .. } = effect { Some(*id) } else { None });
        id.expect("a question")
    }
}

fn work(effects: &[Effect]) -> Option<&HealWork> {
    effects.iter().find_map(|effect| match effect {
        Effect::Heal { space, work, .. } => {
            assert_eq!(*space, SPACE);
            Some(work)
        }
        _ => None,
    })
}

fn answer() -> HealResponse {
    let taken = Some(TakenBack::default());
    HealResponse { schema: SCHEMA, head: Cursor::start(SPACE), places: Vec::new(), receipt: None, taken }
}

#[test]
fn it_hands_back_and_then_reads_on() {
    let mut phone = Phone::new(Session::default());
    let effects = phone.diverge();
    assert_eq!(work(&effects), Some(&HealWork::Begin));
    assert_eq!(phone.0.status(), Status::Syncing);
    for _ in 0..3 {
        let id = phone.ask();
        assert!(phone.tell(Event::HealAnswered(id + 1, Ok(Box::new(answer())))).is_empty(), "somebody else's answer");
        let effects = phone.tell(Event::HealAnswered(id, Ok(Box::new(answer()))));
        assert_eq!(work(&effects), Some(&HealWork::Answer(Box::new(answer()))));
    }
    let effects = phone.tell(Event::Heal(SPACE, HealStep::Done { at: 7 }));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Collect { again: true, .. })), "{effects:?}");
    assert!(phone.tell(Event::Heal(SpaceId::from_bytes([1; 16]), HealStep::Failed)).is_empty());
}

#[test]
fn a_receipt_of_another_key_is_no_reason_to_stop() {
    let mut phone = Phone::new(Session::default());
    phone.diverge();
    let id = phone.ask();
    let refused = Failure::Refused { code: ErrorCode::ReceiptRefused, retry_after_ms: None };
    let effects = phone.tell(Event::HealAnswered(id, Err(refused)));
    assert_eq!(work(&effects), Some(&HealWork::ReceiptRefused));
}

#[test]
fn a_server_without_the_route_bars_nobody() {
    for code in [ErrorCode::NotFound, ErrorCode::MethodNotAllowed] {
        let mut phone = Phone::new(Session::default());
        phone.diverge();
        let id = phone.ask();
        let effects = phone.tell(Event::HealAnswered(id, Err(Failure::Refused { code, retry_after_ms: None })));
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Barred { .. })), "{effects:?}");
        assert_eq!(phone.0.trouble(SPACE), Some(Trouble::ServerLostData));
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_asked_again_later() {
    let mut phone = Phone::new(Session::default());
    for _ in 0..2 * HEALS_IN_A_ROW_MAX {
        phone.diverge();
        let id = phone.ask();
        let effects = phone.tell(Event::HealAnswered(id, Err(Failure::Unreachable)));
        assert_eq!(phone.0.trouble(SPACE), None);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Wake { .. })), "{effects:?}");
        assert_eq!(phone.0.status(), Status::Offline);
        let effects = phone.tell(Event::NetworkChanged { online: true });
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Collect { .. })), "{effects:?}");
    }
}

#[test]
fn a_server_that_loses_again_and_again_what_it_takes_back_is_left() {
    let mut phone = Phone::new(Session::default());
    for _ in 0..HEALS_IN_A_ROW_MAX {
        assert!(work(&phone.diverge()).is_some());
        phone.tell(Event::Heal(SPACE, HealStep::Done { at: 0 }));
    }
    assert_eq!(work(&phone.diverge()), None);
    assert_eq!(phone.0.trouble(SPACE), Some(Trouble::ServerLostData));
    let effects = phone.tell(Event::SyncNow);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Collect { .. })), "the app may try once more");
}

#[test]
fn a_budget_in_bytes_is_not_spent_on_it() {
    let window = |bytes| Session::within(Window { ends_at_ms: 60_000, bytes }, NOW_MS);
    assert!(work(&Phone::new(window(None)).diverge()).is_some());
    let mut phone = Phone::new(window(Some(1 << 20)));
    assert_eq!(work(&phone.diverge()), None);
    assert_eq!(phone.0.trouble(SPACE), Some(Trouble::ServerLostData));
}

#[test]
fn a_space_that_is_removed_meanwhile_holds_up_nothing() {
    let mut phone = Phone::new(Session::default());
    phone.diverge();
    let id = phone.ask();
    phone.tell(Event::SpaceRemoved(SPACE));
    let effects = phone.tell(Event::HealAnswered(id, Ok(Box::new(answer()))));
    assert!(work(&effects).is_some());
    phone.tell(Event::Heal(SPACE, HealStep::Failed));
    let effects = phone.tell(Event::SpaceAdded(SPACE));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Collect { .. })), "{effects:?}");
}
