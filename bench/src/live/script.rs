//! What the writers send, made before the clock starts: the load is to cost the machine little beside the server.

use std::collections::VecDeque;

use bytes::Bytes;
use sync_core::document::{Document, Op};
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{Actor, DeviceId, DocId, SpaceId};
use sync_core::value::Value;
use sync_core::wire::{LiveRequest, encode};

/// The request that creates the document.
pub const SETUP_ID: u64 = 2;

/// What one change is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A character at the end of a text.
    Keystroke,
    /// A field with so many characters, none of which compresses away.
    Field(usize),
}

/// The pushes of one writer to one document. A request's id is the place in the feed that it brings, and so in the log.
pub struct Script {
    pub space: SpaceId,
    /// Brings the first two items: the creation and an empty text.
    pub setup: Bytes,
    frames: VecDeque<Bytes>,
    id: u64,
}

impl Script {
    /// Scripts of several writers, made on all processors.
    pub fn write(writers: &[(SpaceId, DeviceId)], changes: usize, kind: Kind) -> Vec<Self> {
        let write = |part: &[(SpaceId, DeviceId)]| -> Vec<Self> {
            part.iter().map(|&(space, device)| Self::one(space, device, changes, kind)).collect()
        };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            let parts = writers.chunks(writers.len().div_ceil(processors));
            let under_way: Vec<_> = parts.map(|part| scope.spawn(move || write(part))).collect();
            under_way.into_iter().flat_map(|part| part.join().expect("scripts")).collect()
        })
    }

    fn one(space: SpaceId, device: DeviceId, changes: usize, kind: Kind) -> Self {
        let mut state = u64::from_le_bytes(*device.as_bytes().first_chunk().expect("16 bytes"));
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 16
        };
        let doc = DocId::mint(1_700_000_000_000, [7; 10]);
        let mut document = Document::new(Actor::new(device, [0; 4]));
        let mut base = FeedHead::start(space, device);
        let mut frame = |items: Vec<Item>| {
            let run = Run { device, base, items };
            base = run.end();
            let request =
                LiveRequest::Sync { id: base.n, space, push: Some(run), pull: None, subscribe: false, snapshot: None };
            Bytes::from(encode(&request).expect("a frame"))
        };
        let mut change = |op: Op, random: &mut dyn FnMut() -> u64| {
            document.edit(vec![op], &mut *random).expect("an edit");
            let sealed = document.seal(&mut *random).expect("a change");
            Item::change(doc, sealed.hash, sealed.bytes)
        };
        let text = Op::Put { path: "text".into(), value: Value::Text(String::new()) };
        let setup = frame(vec![Item::create(doc, "notes".into()), change(text, &mut random)]);
        let frames = (0..changes as u64)
            .map(|at| {
                let op = match kind {
                    Kind::Keystroke => {
                        let insert = char::from(b'a' + (at % 26) as u8).to_string();
                        Op::Splice { path: "text".into(), at, delete: 0, insert }
                    }
                    Kind::Field(characters) => {
                        let value = (0..characters).map(|_| char::from(b'!' + (random() % 94) as u8)).collect();
                        Op::Put { path: "field".into(), value: Value::Str(value) }
                    }
                };
                frame(vec![change(op, &mut random)])
            })
            .collect();
        Self { space, setup, frames, id: SETUP_ID }
    }

    /// The next push and its id.
    pub fn next(&mut self) -> Option<(u64, Bytes)> {
        let frame = self.frames.pop_front()?;
        self.id += 1;
        Some((self.id, frame))
    }
}
