//! Phones that write into one counter, each at a node of its own, while a test kills what they depend on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sync_client_ffi::{Client, DocId, SpaceId, Value};
use sync_core::wire::{self, ErrorCode, VersionResponse};
use sync_tests::nodes::Nodes;
use sync_tests::rig::{PATIENCE, Raw, Seeded};
use sync_tests::services::daemon::wait_until;

/// Between two edits of a phone: far faster than people, and what is written during an outage stays small.
const PAUSE: Duration = Duration::from_millis(5);

/// Edits in a change, unless the engine seals it before.
const EDITS: i64 = 8;

/// What errors of the database and its libraries would bring along.
const DATABASE_WORDS: [&str; 9] =
    ["postgres", "sql", "deadpool", "redis", "connection", "relation", "fatal", "terminating", "127.0.0.1"];

pub struct Writers {
    pub nodes: Nodes,
    pub phones: Vec<Client>,
    pub space: SpaceId,
    doc: DocId,
    random: Seeded,
    stop: Arc<AtomicBool>,
    typing: Vec<JoinHandle<i64>>,
}

impl Writers {
    /// A phone a node; from here on all of them write.
    pub fn start(name: &str, nodes: Nodes) -> Self {
        let phones: Vec<Client> = (0..nodes.count()).map(|node| nodes.phone("ann", node as u8 + 1, node)).collect();
        let space = phones[0].personal_space();
        let doc = phones[0].create(space, "counters").unwrap();
        doc.edit(|edit| {
            edit.put("count", Value::Counter(0));
        })
        .unwrap();
        phones[0].sync_once(PATIENCE).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut typing = Vec::new();
        for phone in &phones {
            phone.sync_once(PATIENCE).unwrap();
            phone.start().unwrap();
            let (phone, stop, id) = (phone.clone(), stop.clone(), doc.id());
            typing.push(std::thread::spawn(move || {
                let doc = phone.open_doc(space, id).unwrap();
                let mut increments = 0;
                while !stop.load(Ordering::Relaxed) {
                    doc.edit(|edit| {
                        edit.increment("count", 1);
                    })
                    .unwrap();
                    increments += 1;
                    if increments % EDITS == 0 {
                        doc.seal().unwrap();
                    }
                    std::thread::sleep(PAUSE);
                }
                increments
            }));
        }
        let doc = doc.id();
        Self { nodes, phones, space, doc, random: Seeded::new(name), stop, typing }
    }

    /// Waits until a phone has had some more changes acknowledged, and for a moment that is none in particular.
    pub fn progress(&mut self, phone: usize) {
        let phone = &self.phones[phone];
        let acked = phone.acknowledged(self.space).unwrap().n;
        assert!(phone.wait_for(self.space, phone.device(), acked + 1 + self.random.below(4), PATIENCE), "no progress");
        let (begun, micros) = (Instant::now(), u128::from(self.random.below(8_000)));
        while begun.elapsed().as_micros() < micros {
            std::hint::spin_loop();
        }
    }

    /// How much of its feed each phone knows to be acknowledged.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.phones.iter().map(|phone| phone.acknowledged(self.space).unwrap().n).collect()
    }

    /// Demands of a node that it holds all that, as soon as it answers.
    pub fn demand(&self, node: usize, acknowledged: &[u64]) {
        for (phone, acknowledged) in self.phones.iter().zip(acknowledged) {
            let mut held = None;
            wait_until("a node answers", || {
                let answer = self.ask(node, phone);
                if answer.status == 200 {
                    held = wire::decode::<VersionResponse>(&answer.body).ok().map(|answer| answer.acked.n);
                } else {
                    check_refusal(&answer);
                }
                held.is_some()
            });
            assert!(held >= Some(*acknowledged), "{held:?} is held of {acknowledged} acknowledged changes");
        }
    }

    /// Demands of every node that it refuses in good order.
    pub fn demand_refusals(&self) {
        for node in 0..self.nodes.count() {
            let answer = self.ask(node, &self.phones[node]);
            assert_eq!(answer.status, 503, "node {node}: {}", answer.head);
            check_refusal(&answer);
        }
    }

    /// Asks a node for something that is in the database.
    pub fn ask(&self, node: usize, phone: &Client) -> Raw {
        let token = self.nodes.token("ann", phone.device());
        self.nodes.node(node).get(&format!("/v1/spaces/{}/version", self.space), &token).unwrap()
    }

    /// Waits until all others have what a phone has written by now; gives how long it took.
    pub fn demand_delivery(&self, phone: usize) -> Duration {
        let begun = Instant::now();
        let (author, written) = (self.phones[phone].device(), self.phones[phone].feed(self.space).unwrap().n);
        for other in &self.phones {
            assert!(other.wait_for(self.space, author, written, PATIENCE), "it does not arrive");
        }
        begun.elapsed()
    }

    /// Ends the writing, and demands that every edit counts once, on every phone and at every node.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let increments: i64 = self.typing.into_iter().map(|thread| thread.join().unwrap()).sum();
        for phone in &self.phones {
            assert!(phone.wait_acknowledged(self.space, PATIENCE), "recovery needs nobody");
            phone.stop();
        }
        let fresh: Vec<Client> =
            (0..self.nodes.count()).map(|node| self.nodes.phone("ann", 100 + node as u8, node)).collect();
        let mut heads = None;
        for phone in self.phones.iter().chain(&fresh) {
            phone.sync_once(PATIENCE).unwrap();
            let doc = phone.open_doc(self.space, self.doc).unwrap();
            assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(increments)));
            assert!(phone.refused(self.space).unwrap().is_empty());
            let same = doc.heads().unwrap();
            assert_eq!(heads.get_or_insert_with(|| same.clone()), &same);
        }
        println!("{increments} increments, {} changes", fresh[0].log_position(self.space).unwrap());
    }
}

/// A refusal tells when to come again and why in a stable word, and nothing of what is behind the server.
pub fn check_refusal(answer: &Raw) {
    assert_eq!(answer.status, 503, "{}", answer.head);
    let retry_after = answer.header("retry-after").expect("Retry-After");
    assert!(retry_after.parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{retry_after}");
    assert!(matches!(answer.code(), Some(ErrorCode::Busy | ErrorCode::Unavailable)), "{:?}", answer.code());
    let text = format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body)).to_lowercase();
    for word in DATABASE_WORDS {
        assert!(!text.replace("connection: close", "").contains(word), "{word} in {text:?}");
    }
}
