//! A reader that does not read harms nobody, and loses nothing.

use sync_core::log::Cursor;
use sync_core::wire::{LiveRequest, LiveResponse, Page};

use crate::link::{Link, chained, since};
use crate::world::{Phone, World, pasting, typing};

/// Pushes until so many bytes are written. It would never return if the reader were waited for.
async fn write(link: &mut Link, phone: &mut Phone, bytes: usize) {
    for _ in 0..bytes / 30_000 {
        let items = pasting(phone.device, 30_000);
        let run = phone.run(items);
        link.push(phone.space, run).await;
    }
}

async fn reads_up_to(reader: &mut Link, phone: &Phone, mut at: Cursor, seq: u64) -> Vec<Page> {
    let mut pages = Vec::new();
    while at.seq < seq {
        let page = reader.page(phone.space).await;
        at = chained(at, &page);
        pages.push(page);
    }
    assert_eq!(at.seq, seq);
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_gets_everything_when_it_wakes() {
    let world = World::new().await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut writer, mut reader) = (ann.link().await, tablet.link().await);
    writer.follow(ann.space, None).await;
    reader.follow(ann.space, None).await;
    // Far more than the sockets' own buffers take.
    write(&mut writer, &mut ann, 16 << 20).await;
    let seq = 2 * ((16 << 20) / 30_000);
    let start = Cursor::start(ann.space);
    let pages = reads_up_to(&mut reader, &ann, start, seq as u64).await;
    assert!(pages.iter().any(|page| page.more), "most of it came from the log");

    let items = typing(ann.device, 1);
    let run = ann.run(items);
    writer.push(ann.space, run).await;
    let last = reader.page(ann.space).await;
    assert_eq!((last.next.seq, last.more), (seq as u64 + 2, false), "and then it is live again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_does_not_listen_is_not_heard_until_it_does() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let mut writer = ann.link().await;
    write(&mut writer, &mut ann, 1 << 20).await;
    let mut link = ann.link().await;
    // Each is answered with a page of 64 KiB: 32 MiB that would wait somewhere.
    let asking = async {
        let mut asked = Vec::new();
        for id in 0..512 {
            let pull = Some(sync_core::wire::Pull { own: true, ..since(None) });
            let request =
                LiveRequest::Sync { id, space: ann.space, push: None, pull, subscribe: false, snapshot: None };
            asked.push(sync_core::wire::encode(&request).unwrap());
        }
        asked
    };
    for frame in asking.await {
        link.send(frame).await;
    }
    for asked in 0..512 {
        match link.hear().await {
            LiveResponse::Answer { id, pull: Some(_), .. } => assert_eq!(id, asked),
            other => panic!("{other:?}"),
        }
    }
}
