//! Order, holes, overflow, and what must never be lost.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake as WakeTask;

use futures_util::FutureExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_bytes::ByteBuf;
use sync_core::feed::{Body, ChangeId, FeedHead, ItemKind};
use sync_core::id::{DocId, Hash};
use sync_core::limits::{LIVE_PAGE_BYTES_MAX, LIVE_QUEUE_BYTES_MAX, PRESENCE_QUEUE_MAX};
use sync_core::log::{Receipt, Verdict};
use sync_core::wire::{Entries, PageEntry};

use super::super::presence::Peers;
use super::*;
use crate::bus::{Notice, Presence};

mod model;

const SPACE: SpaceId = SpaceId::from_bytes([1; 16]);
const OTHER: SpaceId = SpaceId::from_bytes([2; 16]);
const READER: DeviceId = DeviceId::from_bytes([1; 16]);
const WRITER: DeviceId = DeviceId::from_bytes([2; 16]);

fn at(seq: u64) -> Cursor {
    Cursor { seq, chain: Hash::of(&[&seq.to_be_bytes()]) }
}

fn entry(device: DeviceId, seq: u64, bytes: usize) -> PageEntry {
    let (id, doc) = (ChangeId { device, n: seq }, DocId::from_bytes([3; 16]));
    let body = Some(Body::Change { bytes: vec![seq as u8; bytes] });
    PageEntry { id, kind: ItemKind::Change, doc, verdict: Verdict::Applied, hash: Some(Hash([0; 32])), body }
}

/// A notice of the one entry at that place.
fn notice(space: SpaceId, seq: u64, device: DeviceId, bytes: usize) -> Arc<Parcel> {
    let receipt = Receipt::from_hash(Hash([0; 32]));
    let entries = Some(Entries(vec![entry(device, seq, bytes)]));
    Arc::new(Parcel::new(Notice { space, from: at(seq - 1), next: at(seq), receipt, entries, received_ms: None }))
}

fn page(from: u64, to: u64, more: bool) -> Page {
    let entries = (from + 1..=to).map(|seq| entry(WRITER, seq, 10)).collect();
    Page {
        entries: Entries(entries),
        next: at(to),
        more,
        receipt: Receipt::from_hash(Hash([0; 32])),
        version: None,
        snapshots: Vec::new(),
        times: None,
    }
}

/// A mailbox that follows the space and has its log up to there.
fn following(seq: u64) -> Mailbox {
    let mailbox = Mailbox::new("ann", READER);
    follow(&mailbox, SPACE, seq);
    mailbox
}

fn follow(mailbox: &Mailbox, space: SpaceId, seq: u64) {
    assert!(mailbox.follow(space, 8));
    mailbox.followed(space, First { next: at(seq), more: false, wish: Wish::default() }, pong(0), 0);
    assert!(matches!(take(mailbox), Some(Outgoing::Answer(_))));
    assert!(take(mailbox).is_none());
}

fn pong(nonce: u64) -> LiveResponse {
    LiveResponse::Pong { nonce }
}

fn answered() -> PushAnswer {
    PushAnswer::Behind { acked: FeedHead { n: 0, chain: Hash([0; 32]) } }
}

/// What the writer would send next, once it has sent what it took before.
fn take(mailbox: &Mailbox) -> Option<Outgoing> {
    mailbox.take().now_or_never()
}

fn behind(mailbox: &Mailbox) -> Option<Behind> {
    mailbox.behind().now_or_never()
}

/// The places of all pages that go out, those of answers too.
fn sent(mailbox: &Mailbox) -> Vec<u64> {
    let mut places = Vec::new();
    while let Some(outgoing) = take(mailbox) {
        match outgoing {
            Outgoing::Page(parcel) => places.push(parcel.next().seq),
            Outgoing::LogPage(_, page) => places.push(page.next.seq),
            Outgoing::Answer(Answer::Pushed { log, .. }) => places.extend(log.iter().map(|parcel| parcel.next().seq)),
            _ => {}
        }
    }
    places
}

fn since(behind: Option<Behind>) -> Option<(SpaceId, u64)> {
    behind.map(|behind| (behind.space, behind.since.seq))
}

#[test]
fn notices_go_out_once_and_in_their_order() {
    let mailbox = following(5);
    for seq in [6, 6, 4, 5, 7, 6, 8] {
        mailbox.offer(&notice(SPACE, seq, WRITER, 10));
    }
    mailbox.offer(&notice(OTHER, 1, WRITER, 10));
    assert_eq!(sent(&mailbox), [6, 7, 8], "what is known and what is not followed is passed over");
    assert_eq!(behind(&mailbox), None);
    assert_eq!(mailbox.bytes(), 0);
}

#[test]
fn a_hole_is_read_from_the_log() {
    let forked = {
        let receipt = Receipt::from_hash(Hash([0; 32]));
        let from = Cursor { seq: 5, chain: Hash::of(&[b"another life"]) };
        Arc::new(Parcel::new(Notice {
            space: SPACE,
            from,
            next: at(6),
            receipt,
            entries: Some(Entries::default()),
            received_ms: None,
        }))
    };
    let large = {
        let receipt = Receipt::from_hash(Hash([0; 32]));
        Arc::new(Parcel::new(Notice {
            space: SPACE,
            from: at(5),
            next: at(6),
            receipt,
            entries: None,
            received_ms: None,
        }))
    };
    for (what, parcel) in [("lost", notice(SPACE, 7, WRITER, 10)), ("forked", forked), ("large", large)] {
        let mailbox = following(5);
        mailbox.offer(&parcel);
        assert!(sent(&mailbox).is_empty(), "{what}");
        let wanted = behind(&mailbox).unwrap();
        assert_eq!((wanted.space, wanted.since), (SPACE, at(5)), "{what}");
        assert_eq!(behind(&mailbox), None, "one at a time");
        mailbox.read(wanted, page(5, 7, false), 100);
        mailbox.offer(&notice(SPACE, 8, WRITER, 10));
        assert_eq!(sent(&mailbox), [7, 8], "{what}: and then from notices again");
    }
}

#[test]
fn what_is_announced_while_the_log_is_read_is_not_lost() {
    let mailbox = following(5);
    mailbox.offer(&notice(SPACE, 7, WRITER, 10));
    let wanted = behind(&mailbox).unwrap();
    mailbox.offer(&notice(SPACE, 8, WRITER, 10));
    mailbox.read(wanted, page(5, 7, false), 100);
    assert_eq!(sent(&mailbox), [7]);
    let wanted = behind(&mailbox).unwrap();
    assert_eq!(wanted.since, at(7));
    mailbox.read(wanted, page(7, 8, false), 100);
    mailbox.offer(&notice(SPACE, 9, WRITER, 10));
    assert_eq!(sent(&mailbox), [8, 9]);
}

#[test]
fn what_was_announced_but_is_not_there_is_not_asked_for_again() {
    let mailbox = following(5);
    mailbox.learn(SPACE, at(9));
    let wanted = behind(&mailbox).unwrap();
    mailbox.read(wanted, page(5, 5, false), 0);
    assert_eq!(behind(&mailbox), None);
    mailbox.offer(&notice(SPACE, 6, WRITER, 10));
    assert_eq!(sent(&mailbox), [6]);
}

#[test]
fn a_log_that_could_not_be_read_is_read_later() {
    let mailbox = following(5);
    mailbox.offer(&notice(SPACE, 7, WRITER, 10));
    let wanted = behind(&mailbox).unwrap();
    mailbox.unread(wanted);
    assert_eq!(behind(&mailbox), Some(wanted));
}

#[test]
fn a_connection_follows_first_and_reads_second() {
    let mailbox = Mailbox::new("ann", READER);
    assert!(mailbox.follow(SPACE, 8));
    mailbox.offer(&notice(SPACE, 3, WRITER, 10));
    assert!(sent(&mailbox).is_empty(), "nothing before the first page");
    mailbox.followed(SPACE, First { next: at(3), more: false, wish: Wish::default() }, pong(0), 0);
    assert!(matches!(take(&mailbox), Some(Outgoing::Answer(_))));
    assert_eq!(behind(&mailbox), None, "the page had it");

    assert!(mailbox.follow(SPACE, 8), "anew");
    mailbox.offer(&notice(SPACE, 4, WRITER, 10));
    mailbox.followed(SPACE, First { next: at(3), more: false, wish: Wish::default() }, pong(0), 0);
    assert!(sent(&mailbox).is_empty());
    assert_eq!(since(behind(&mailbox)), Some((SPACE, 3)), "the page was read before it was committed");
}

#[test]
fn a_page_that_was_read_for_an_earlier_life_is_thrown_away() {
    let mailbox = following(5);
    mailbox.offer(&notice(SPACE, 7, WRITER, 10));
    let wanted = behind(&mailbox).unwrap();
    follow(&mailbox, SPACE, 2);
    mailbox.read(wanted, page(5, 7, false), 100);
    assert!(sent(&mailbox).is_empty());
    mailbox.learn(SPACE, at(7));
    assert_eq!(since(behind(&mailbox)), Some((SPACE, 2)));
}

#[test]
fn a_wish_holds_until_the_end_of_the_log() {
    let mailbox = Mailbox::new("ann", READER);
    let wish = Wish { own: true, version: true, snapshots: None };
    assert!(mailbox.follow(SPACE, 8));
    mailbox.followed(SPACE, First { next: at(3), more: true, wish }, pong(0), 0);
    assert!(take(&mailbox).is_some() && take(&mailbox).is_none());
    for (from, to, more) in [(3, 4, true), (4, 5, false)] {
        let wanted = behind(&mailbox).unwrap();
        assert_eq!(wanted.wish, wish);
        mailbox.read(wanted, page(from, to, more), 100);
        assert_eq!(sent(&mailbox), [to]);
    }
    mailbox.learn(SPACE, at(9));
    assert_eq!(behind(&mailbox).unwrap().wish, Wish::default());
}

#[test]
fn who_does_not_read_costs_a_bounded_amount_and_loses_nothing() {
    let mailbox = following(0);
    let mut most = 0;
    for seq in 1..=2_000 {
        mailbox.offer(&notice(SPACE, seq, WRITER, 1_000));
        most = most.max(mailbox.bytes());
    }
    assert!(most <= LIVE_QUEUE_BYTES_MAX, "{most}");
    assert!(most > LIVE_QUEUE_BYTES_MAX / 2, "but it is used: {most}");
    assert_eq!(mailbox.bytes(), 0, "nothing is kept that will be read from the log");
    assert_eq!(since(behind(&mailbox)), Some((SPACE, 0)));
}

#[test]
fn pages_that_are_dropped_for_a_slow_reader_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let numbers = recorder.handle();
    let mailbox = following(0);
    ::metrics::with_local_recorder(&recorder, || {
        for seq in 1..=2_000 {
            mailbox.offer(&notice(SPACE, seq, WRITER, 1_000));
        }
    });
    assert!(numbers.render().contains("\nrejoin_mailbox_drops_total 1\n"), "{}", numbers.render());
}

#[test]
fn what_was_handed_out_before_the_overflow_is_not_sent_again() {
    let mailbox = following(0);
    follow(&mailbox, OTHER, 0);
    for seq in 1..=3 {
        mailbox.offer(&notice(SPACE, seq, WRITER, 10));
    }
    mailbox.offer(&notice(OTHER, 1, WRITER, 10));
    assert!(matches!(take(&mailbox), Some(Outgoing::Page(parcel)) if parcel.next() == at(1)));
    for seq in 4..=400 {
        mailbox.offer(&notice(SPACE, seq, WRITER, 1_000));
    }
    assert_eq!(behind(&mailbox), None, "not while the first is being written");
    assert!(sent(&mailbox).is_empty());
    let first = behind(&mailbox).unwrap();
    assert_eq!((first.space, first.since), (SPACE, at(1)));
    mailbox.read(first, page(1, 400, true), 100);
    assert_eq!(behind(&mailbox), None, "not before that page is written");
    assert_eq!(sent(&mailbox), [400]);
    assert_eq!(since(behind(&mailbox)), Some((OTHER, 0)), "each log in its turn");
}

#[test]
fn a_push_is_answered_with_what_it_added() {
    let mailbox = following(5);
    mailbox.begin_push(SPACE);
    mailbox.offer(&notice(SPACE, 6, WRITER, 10));
    assert_eq!(sent(&mailbox), [6], "what others wrote before does not wait for it");
    mailbox.offer(&notice(SPACE, 7, READER, 10));
    mailbox.offer(&notice(SPACE, 8, WRITER, 10));
    assert!(sent(&mailbox).is_empty());
    mailbox.pushed(1, SPACE, answered(), 100);
    match take(&mailbox) {
        Some(Outgoing::Answer(Answer::Pushed { id: 1, log, .. })) => {
            assert_eq!(log.iter().map(|parcel| parcel.next()).collect::<Vec<_>>(), [at(7), at(8)]);
        }
        other => panic!("{other:?}"),
    }
    mailbox.offer(&notice(SPACE, 9, READER, 10));
    assert_eq!(sent(&mailbox), [9], "without a push it comes by itself");
    assert_eq!(mailbox.bytes(), 0);
}

#[test]
fn a_push_that_fails_holds_nothing_back() {
    let mailbox = following(5);
    mailbox.begin_push(SPACE);
    mailbox.offer(&notice(SPACE, 6, READER, 10));
    mailbox.end_push(SPACE);
    assert_eq!(sent(&mailbox), [6]);
}

#[test]
fn an_answer_survives_an_overflow_without_its_page() {
    for answered_first in [false, true] {
        let mailbox = following(5);
        mailbox.answer(pong(1), 10);
        mailbox.begin_push(SPACE);
        mailbox.offer(&notice(SPACE, 6, READER, 10));
        if answered_first {
            mailbox.pushed(1, SPACE, answered(), 100);
        }
        for seq in 7..=400 {
            mailbox.offer(&notice(SPACE, seq, WRITER, 1_000));
        }
        if !answered_first {
            mailbox.pushed(1, SPACE, answered(), 100);
        }
        assert!(matches!(take(&mailbox), Some(Outgoing::Answer(Answer::Whole(_)))));
        let answer = take(&mailbox);
        assert!(matches!(&answer, Some(Outgoing::Answer(Answer::Pushed { log, .. })) if log.is_empty()), "{answer:?}");
        assert!(sent(&mailbox).is_empty());
        assert_eq!(since(behind(&mailbox)), Some((SPACE, 5)));
        assert_eq!(mailbox.bytes(), 0);
    }
}

#[test]
fn who_does_not_read_its_answers_gets_no_room_for_more() {
    let mailbox = Mailbox::new("ann", READER);
    let mut answers = 0;
    while mailbox.room().now_or_never().is_some() {
        mailbox.answer(pong(answers), 1_000);
        answers += 1;
    }
    assert!(mailbox.bytes() <= LIVE_PAGE_BYTES_MAX + 2_000, "{}", mailbox.bytes());
    for nonce in 0..answers {
        let answer = take(&mailbox);
        let expected = pong(nonce);
        assert!(matches!(&answer, Some(Outgoing::Answer(Answer::Whole(whole))) if **whole == expected), "{answer:?}");
    }
    assert!(take(&mailbox).is_none());
    assert!(mailbox.room().now_or_never().is_some());
}

#[test]
fn what_is_not_followed_any_more_is_not_sent() {
    let mailbox = following(5);
    mailbox.offer(&notice(SPACE, 6, WRITER, 10));
    mailbox.begin_push(SPACE);
    mailbox.offer(&notice(SPACE, 7, READER, 10));
    show(&mailbox, SPACE, WRITER, 10);
    assert!(mailbox.unfollow(SPACE));
    assert!(!mailbox.unfollow(SPACE));
    mailbox.offer(&notice(SPACE, 8, WRITER, 10));
    assert!(take(&mailbox).is_none());
    assert_eq!(mailbox.bytes(), 0);
}

#[test]
fn too_many_spaces_are_not_followed() {
    let mailbox = following(5);
    assert!(mailbox.follow(SPACE, 1), "one that is followed already may begin anew");
    assert!(!mailbox.follow(OTHER, 1));
    assert_eq!(mailbox.spaces(), [SPACE]);
}

#[test]
fn a_heartbeat_tells_what_has_moved_since_the_last() {
    let mailbox = following(5);
    follow(&mailbox, OTHER, 3);
    let beat = |mailbox: &Mailbox| {
        mailbox.beat();
        match take(mailbox) {
            Some(Outgoing::Beat(heads)) => heads.iter().map(|head| (head.space, head.head.seq)).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(beat(&mailbox), []);
    mailbox.offer(&notice(SPACE, 6, WRITER, 10));
    mailbox.learn(SPACE, at(6));
    mailbox.learn(SPACE, at(4));
    mailbox.learn(OTHER, at(3));
    mailbox.beat();
    assert_eq!(beat(&mailbox), [(SPACE, 6)], "once, however many were due");
    assert_eq!(sent(&mailbox), [6]);
    assert_eq!(beat(&mailbox), []);
    assert_eq!(behind(&mailbox), None, "nothing was lost");
}

fn show(mailbox: &Mailbox, space: SpaceId, device: DeviceId, bytes: usize) {
    let (user, data) = ("ann".to_owned(), Some(ByteBuf::from(vec![0; bytes])));
    let presence = Presence { space, session: 1, user, device, data, ttl_ms: 10_000 };
    let shown = Peers::default().hear(presence, std::time::Instant::now()).unwrap();
    mailbox.show(space, &shown);
}

fn device(number: usize) -> DeviceId {
    let mut bytes = [0xf0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    DeviceId::from_bytes(bytes)
}

#[test]
fn presence_is_the_latest_of_each_and_the_last_to_go() {
    let mailbox = following(5);
    show(&mailbox, SPACE, READER, 10);
    assert!(take(&mailbox).is_none(), "one does not see oneself");
    for bytes in [10, 20, 30] {
        show(&mailbox, SPACE, WRITER, bytes);
    }
    show(&mailbox, OTHER, WRITER, 10);
    mailbox.offer(&notice(SPACE, 6, WRITER, 10));
    assert!(matches!(take(&mailbox), Some(Outgoing::Page(_))), "entries go first");
    match take(&mailbox) {
        Some(Outgoing::Presence(SPACE, shown)) => {
            let peers: Vec<_> = shown.iter().map(|shown| shown.peer(std::time::Instant::now())).collect();
            assert_eq!(peers.len(), 1);
            assert_eq!(peers[0].data.as_ref().unwrap().len(), 30);
        }
        other => panic!("{other:?}"),
    }
    assert!(take(&mailbox).is_none());
    assert_eq!(mailbox.bytes(), 0);
}

#[test]
fn presence_is_bounded_and_the_first_to_be_dropped() {
    let mailbox = following(0);
    for number in 0..2 * PRESENCE_QUEUE_MAX {
        show(&mailbox, SPACE, device(number), 1);
    }
    match take(&mailbox) {
        Some(Outgoing::Presence(_, shown)) => assert_eq!(shown.len(), PRESENCE_QUEUE_MAX),
        other => panic!("{other:?}"),
    }
    for number in 0..64 {
        show(&mailbox, SPACE, device(number), 4_000);
    }
    assert!(take(&mailbox).is_some() && take(&mailbox).is_none());
    for number in 0..64 {
        show(&mailbox, SPACE, device(number), 4_000);
    }
    assert!(mailbox.bytes() <= LIVE_PAGE_BYTES_MAX, "{}", mailbox.bytes());
    let (mut seq, mut dropped_at) = (0, None);
    while behind(&mailbox).is_none() {
        let before = mailbox.bytes();
        seq += 1;
        mailbox.offer(&notice(SPACE, seq, WRITER, 1_000));
        if mailbox.bytes() < before {
            dropped_at.get_or_insert(seq);
        }
    }
    assert!(dropped_at.unwrap() < seq, "all presence went before any page");
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl WakeTask for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_is_woken_and_who_writes_is_not() {
    let mailbox = following(5);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    let rung = || bell.0.swap(0, Ordering::Relaxed);

    let mut waiting = pin!(mailbox.take());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    mailbox.offer(&notice(SPACE, 6, WRITER, 10));
    assert_eq!(rung(), 1);
    assert!(waiting.as_mut().poll(&mut context).is_ready());

    let mut closing = pin!(mailbox.closing());
    assert!(closing.as_mut().poll(&mut context).is_pending());
    mailbox.offer(&notice(SPACE, 7, WRITER, 10));
    assert_eq!(rung(), 0, "the writer is busy, and looks when it is done");
    mailbox.close(CloseCode::GoingAway);
    assert_eq!(rung(), 1);
    mailbox.close(CloseCode::Idle);
    assert_eq!(closing.as_mut().poll(&mut context), Poll::Ready(CloseCode::GoingAway), "the first reason counts");
}

#[test]
fn the_logs_reader_is_woken_when_the_writer_is_done() {
    let mailbox = following(5);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    mailbox.answer(pong(1), 10);
    assert!(take(&mailbox).is_some());
    mailbox.offer(&notice(SPACE, 9, WRITER, 10));
    // Polled before the writer, as it may be.
    let mut reading = pin!(mailbox.behind());
    assert!(reading.as_mut().poll(&mut context).is_pending());
    let mut writing = pin!(mailbox.take());
    assert!(writing.as_mut().poll(&mut context).is_pending());
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert!(reading.as_mut().poll(&mut context).is_ready());
}
