//! Handing back what a server lost, over real sockets: a second server with the keys of the first and an empty database.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::json;
use sync_core::feed::{Body, Item};
use sync_core::heal::{LostEntries, TakenBack};
use sync_core::id::{Hash, SpaceId};
use sync_core::log::{Cursor, Entry, Receipt};
use sync_core::wire::{
    self, ErrorCode, HandedBack, HealRequest, HealResponse, ItemStatus, Page, PullAnswer, PushAnswer, SCHEMA,
};
use sync_server::store::audit::AuditFilter;
use sync_server::{Caller, Config};
use tempfile::TempDir;

use crate::world::{JSON, MSGPACK, Phone, World, frame, refused, typing};

/// The same server after a disaster.
async fn restored(first: &World) -> World {
    let config = Config { keys: Some(first.folder.path().to_owned()), ..Config::default() };
    World::within(Arc::new(TempDir::new().unwrap()), |server| server.config(config)).await
}

/// The same device at the other server.
fn at(world: &World, phone: &Phone, user: &str) -> Phone {
    let mut there = world.phone(user);
    let caller = Caller { user: user.to_owned(), device: phone.device };
    there.token = world.server.issue_token(&caller, Duration::from_mins(10)).unwrap();
    (there.device, there.space, there.head) = (phone.device, phone.space, phone.head);
    there
}

async fn page(phone: &Phone) -> Page {
    match phone.sync(&phone.pull()).await.pull {
        Some(PullAnswer::Page(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn all_of(space: SpaceId, page: &Page) -> LostEntries {
    let entries: Vec<Entry> =
        page.entries.0.iter().map(|entry| entry.clone().resolve(|_| None).expect("a whole entry")).collect();
    LostEntries { base: Cursor::start(space), entries, receipt: page.receipt }
}

fn handing(space: SpaceId, lost: LostEntries, prove: bool) -> HealRequest {
    HealRequest { schema: SCHEMA, space, places: Vec::new(), lost: Some(HandedBack { lost, prove }) }
}

async fn send(phone: &Phone, request: &HealRequest) -> Response {
    let body = wire::encode(request).unwrap();
    phone.request(Method::POST, "/v1/heal").header("content-type", MSGPACK).body(body).send().await.unwrap()
}

async fn heal(phone: &Phone, request: &HealRequest) -> HealResponse {
    frame(send(phone, request).await).await
}

/// What somebody wrote, and who only read it.
async fn stage() -> (World, Phone, Phone, Page) {
    let first = World::new().await;
    let (mut writer, reader) = (first.phone("ann"), first.phone("ann"));
    let push = writer.push(typing(writer.device, 20));
    writer.sync(&push).await;
    let page = page(&reader).await;
    assert_eq!(page.entries.0.len(), 21);
    (first, writer, reader, page)
}

#[tokio::test]
async fn whoever_read_it_brings_it_back_as_it_was() {
    let (first, writer, reader, before) = stage().await;
    let second = restored(&first).await;
    let (writer, reader) = (at(&second, &writer, "ann"), at(&second, &reader, "ann"));
    let since = Some(before.next);
    let diverged = wire::Pull { since, bytes_max: None, own: false, version: false, snapshots: None };
    let request = wire::SyncRequest {
        schema: SCHEMA,
        space: reader.space,
        push: None,
        pull: Some(diverged.clone()),
        snapshot: None,
    };
    let head = Cursor::start(reader.space);
    assert_eq!(reader.sync(&request).await.pull, Some(PullAnswer::Diverged { head }));

    let answer = heal(&reader, &handing(reader.space, all_of(reader.space, &before), false)).await;
    assert_eq!(answer.taken, Some(TakenBack { taken: 21, known: 0, left: 0 }));
    assert_eq!(answer.head, before.next);
    assert_eq!(page(&reader).await, before);
    // Its cursor holds again, and its author's retry is known.
    assert!(matches!(reader.sync(&request).await.pull, Some(PullAnswer::Page(page)) if page.entries.0.is_empty()));
    let mut again = at(&first, &writer, "ann");
    again.head = sync_core::feed::FeedHead::start(again.space, again.device);
    let items: Vec<Item> = all_of(reader.space, &before).entries.into_iter().map(item).collect();
    let again = again.push(items);
    let Some(PushAnswer::Taken { results, .. }) = writer.sync(&again).await.push else { panic!("not taken") };
    assert!(results.iter().all(|result| result.status == ItemStatus::Duplicate));
    let answer = heal(&writer, &handing(writer.space, all_of(writer.space, &before), false)).await;
    assert_eq!(answer.taken, Some(TakenBack { taken: 0, known: 21, left: 0 }));
}

fn item(entry: Entry) -> Item {
    Item { doc: entry.header.doc, hash: entry.header.hash, body: entry.body.expect("all were applied") }
}

#[tokio::test]
async fn a_proof_gives_the_receipt_of_the_place_before_it() {
    let (first, _, reader, before) = stage().await;
    let second = restored(&first).await;
    let reader = at(&second, &reader, "ann");
    let whole = all_of(reader.space, &before);
    let middle = whole.entries[..10].iter().fold(whole.base, |place, entry| place.next(&entry.header));
    let mut end = LostEntries { base: middle, entries: whole.entries[10..].to_vec(), receipt: before.receipt };
    for entry in &mut end.entries {
        entry.body = None;
    }
    let proven = heal(&reader, &handing(reader.space, end, true)).await;
    assert_eq!((proven.head, proven.taken), (Cursor::start(reader.space), None), "nothing is taken by proving it");
    let receipt = proven.receipt.expect("a receipt");
    let first_half = LostEntries { base: whole.base, entries: whole.entries[..10].to_vec(), receipt };
    let answer = heal(&reader, &handing(reader.space, first_half, false)).await;
    assert_eq!((answer.head, answer.taken.map(|taken| taken.taken)), (middle, Some(10)));
    let places = HealRequest { schema: SCHEMA, space: reader.space, places: vec![1, 10, 11, 21], lost: None };
    let told = heal(&reader, &places).await;
    assert_eq!((told.head, told.places.len(), told.places[1]), (middle, 2, middle));
    // What carried something and comes without it is not taken.
    let mut bare = whole.clone();
    bare.entries[15].body = None;
    let answer = heal(&reader, &handing(reader.space, bare, false)).await;
    assert_eq!(answer.taken, Some(TakenBack { taken: 5, known: 10, left: 6 }));
}

#[tokio::test]
async fn what_is_forged_altered_or_of_another_server_is_refused_and_nothing_is_stored() {
    let (first, _, reader, before) = stage().await;
    let (second, other) = (restored(&first).await, World::new().await);
    let bob = first.phone("bob");
    let mut writer = first.phone("bob");
    let push = writer.push(typing(writer.device, 3));
    writer.sync(&push).await;
    let of_bob = page(&bob).await;
    let elsewhere = at(&other, &reader, "ann");
    let reader = at(&second, &reader, "ann");
    let whole = || all_of(reader.space, &before);
    let with = |change: &dyn Fn(&mut LostEntries)| {
        let mut lost = whole();
        change(&mut lost);
        handing(reader.space, lost, false)
    };
    let cases = [
        with(&|lost| lost.receipt = Receipt::from_hash(Hash([7; 32]))),
        with(&|lost| lost.receipt = of_bob.receipt),
        with(&|lost| drop(lost.entries.pop())),
        with(&|lost| lost.entries.swap(4, 5)),
        with(&|lost| lost.base.chain = Hash([7; 32])),
        with(&|lost| lost.entries[3].header.id.n = 99),
        with(&|lost| lost.entries[3].body = lost.entries[4].body.clone()),
        with(&|lost| lost.entries[0].body = Some(Body::Create { collection: "others".to_owned() })),
        // Entries of another space, with the receipt that covers them there.
        handing(reader.space, all_of(bob.space, &of_bob), false),
        handing(reader.space, LostEntries { base: whole().base, ..all_of(bob.space, &of_bob) }, false),
    ];
    for request in &cases {
        for prove in [false, true] {
            let mut request = request.clone();
            let altered = request.lost.as_ref().is_some_and(|handed| handed.lost.is_proven(reader.space, &key(&first)));
            if let Some(handed) = &mut request.lost {
                handed.prove = prove && !altered;
            }
            refused(send(&reader, &request).await, 403, ErrorCode::ReceiptRefused).await;
        }
        assert!(page(&reader).await.entries.0.is_empty());
    }
    // A server with other keys does not know it.
    refused(send(&elsewhere, &handing(reader.space, whole(), false)).await, 403, ErrorCode::ReceiptRefused).await;
    // Who may not enter learns nothing.
    let stranger = second.phone("eve");
    refused(send(&stranger, &handing(reader.space, whole(), false)).await, 404, ErrorCode::NotFound).await;
    let nowhere = HealRequest { schema: SCHEMA, space: bob.space, places: vec![1], lost: None };
    refused(send(&stranger, &nowhere).await, 404, ErrorCode::NotFound).await;
}

fn key(world: &World) -> sync_core::log::ReceiptKey {
    sync_server::auth::keys::Keys::open(world.folder.path()).unwrap().receipts
}

#[tokio::test]
async fn the_bounds_hold() {
    let (first, _, reader, before) = stage().await;
    let second = restored(&first).await;
    let reader = at(&second, &reader, "ann");
    let many = HealRequest { schema: SCHEMA, space: reader.space, places: vec![1; 65], lost: None };
    refused(send(&reader, &many).await, 400, ErrorCode::Invalid).await;
    let mut long = all_of(reader.space, &before);
    let entry = long.entries[0].clone();
    long.entries = vec![entry; 10_001];
    let body = json!({
        "schema": 1, "space": reader.space, "places": [],
        "lost": serde_json::to_value(HandedBack { lost: long, prove: true }).unwrap(),
    });
    let request = reader.request(Method::POST, "/v1/heal").header("content-type", JSON);
    refused(request.body(body.to_string()).send().await.unwrap(), 413, ErrorCode::TooLarge).await;
    let old = HealRequest { schema: 2, space: reader.space, places: Vec::new(), lost: None };
    refused(send(&reader, &old).await, 400, ErrorCode::UnsupportedSchema).await;
}

#[tokio::test]
async fn it_is_in_the_audit_log_with_who_did_it() {
    let (first, _, reader, before) = stage().await;
    let second = restored(&first).await;
    let reader = at(&second, &reader, "ann");
    heal(&reader, &handing(reader.space, all_of(reader.space, &before), false)).await;
    let of_ann = AuditFilter { user: Some("ann".to_owned()), limit: 10, ..AuditFilter::default() };
    let rows = second.server.registry().read_audit(of_ann).await.unwrap();
    let row = rows.iter().find(|row| row.kind == "space.log_healed").expect("an event");
    assert_eq!((row.space, row.device), (Some(reader.space), Some(reader.device)));
    assert!(row.detail.as_deref().unwrap_or_default().contains("21 taken back"), "{:?}", row.detail);
}
