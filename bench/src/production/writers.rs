//! 50 writers, each with one change in flight, into one space and into 50: durable changes a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_core::check::Push;
use sync_core::document::{Document, Op};
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::ledger::Role;
use sync_core::log::ReceiptKey;
use sync_core::value::Value;
use sync_server::bus::Publisher;
use sync_server::store::Store;
use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
use sync_server::writer::Writer;
use sync_tests::services::postgres::Postgres;

use super::recorder::Recorder;
use super::{bare, postgres_store};
use crate::{Figure, quantiles};

const WRITERS: usize = 50;
/// More than become durable in the time.
const CHANGES: usize = 3_000;
const MEASURED: Duration = Duration::from_secs(6);

/// What one run came to.
struct Outcome {
    per_second: f64,
    median_ms: f64,
    worst_ms: f64,
    /// Groups, by the number of their space.
    groups: Vec<(usize, usize)>,
}

impl Outcome {
    fn text(&self) -> String {
        let entries: usize = self.groups.iter().map(|(_, entries)| entries).sum();
        let group = entries as f64 / self.groups.len() as f64;
        format!(
            "{:.0} changes/s, {group:.1} a group, acknowledged after {:.1} / {:.1} ms",
            self.per_second, self.median_ms, self.worst_ms
        )
    }
}

/// SQLite, Postgres, and a bare program on the same Postgres, in this order.
pub fn measure() -> Vec<Figure> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let postgres = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut figures = Vec::new();
    for (name, spaces) in [("one space", 1), ("a space each", WRITERS)] {
        let scripts = scripts(spaces);
        let data = folder.path().join(spaces.to_string());
        let sqlite: Arc<dyn Store> = Arc::new(SqliteStore::open(&data, &SqliteOptions::default()).expect("a store"));
        let on_sqlite = runtime.block_on(run(sqlite, &scripts));
        let on_postgres = runtime.block_on(async {
            let store = postgres_store(&postgres.create_database(&format!("rejoin_{spaces}"))).await;
            run(store, &scripts).await
        });
        let per_second = runtime.block_on(async {
            let url = postgres.create_database(&format!("bare_{spaces}"));
            sync_server::store::postgres::migrate(&super::database(&url)).await.expect("the schema");
            bare::run(&url, spaces, &on_postgres.groups).await
        });
        let share = 100.0 * on_postgres.per_second / per_second;
        let one = spaces == 1;
        figures.push(Figure::note(
            if one { "50 writers in one space, into SQLite" } else { "50 writers in a space each, into SQLite" },
            on_sqlite.text(),
        ));
        let what = if one { "the same into Postgres" } else { "the same into Postgres, 50 spaces" };
        let met = on_postgres.per_second >= 5_000.0 && on_postgres.worst_ms < 60.0;
        figures.push(Figure::against(what, on_postgres.text(), "≥ 5,000/s, p99 < 60 ms", met));
        figures.push(Figure::against(
            "a bare program that inserts the same rows in the same groups, and what share of it we reach",
            format!("{per_second:.0} changes/s, {share:.0} % ({name})"),
            "≥ 60 %",
            share >= 60.0,
        ));
    }
    figures
}

/// The writers' pushes of one change each, made before the clock starts; the first creates the document.
fn scripts(spaces: usize) -> Vec<(SpaceId, Vec<Push>)> {
    let write = |number: usize| {
        let space = SpaceId::from_bytes([(number % spaces) as u8 + 1; 16]);
        let mut state = number as u64 + 1;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 16
        };
        let device = DeviceId::from_random([number as u8; 16]);
        let doc = DocId::mint(1_700_000_000_000, [number as u8; 10]);
        let mut document = Document::new(Actor::new(device, [0; 4]));
        let mut base = FeedHead::start(space, device);
        let mut push = |items: Vec<Item>| {
            let run = Run { device, base, items };
            base = run.end();
            Push::check("ann".into(), run)
        };
        let mut pushes = vec![push(vec![Item::create(doc, "notes".into())])];
        for at in 0..CHANGES as u64 {
            let op = if at == 0 {
                Op::Put { path: "text".into(), value: Value::Text(String::new()) }
            } else {
                Op::Splice { path: "text".into(), at: at - 1, delete: 0, insert: "x".into() }
            };
            document.edit(vec![op], &mut random).expect("an edit");
            let sealed = document.seal(&mut random).expect("a change");
            pushes.push(push(vec![Item::change(doc, sealed.hash, sealed.bytes)]));
        }
        (space, pushes)
    };
    (0..WRITERS).map(write).collect()
}

async fn run(store: Arc<dyn Store>, scripts: &[(SpaceId, Vec<Push>)]) -> Outcome {
    for (space, _) in scripts {
        store.set_role(*space, "ann", Some(Role::Owner)).await.expect("a space");
    }
    let recorder = Arc::new(Recorder::default());
    let bus: Arc<dyn sync_server::bus::Bus> = Arc::clone(&recorder) as _;
    let writer = Writer::new(Arc::clone(&store), Publisher::new(bus, ReceiptKey::new([7; 32])));
    let began = Instant::now();
    let until = began + MEASURED;
    let work = scripts.iter().map(|(space, pushes)| {
        let (writer, space, pushes) = (writer.clone(), *space, pushes.clone());
        tokio::spawn(async move {
            let mut times = Vec::new();
            for push in pushes {
                let sent = Instant::now();
                if sent >= until {
                    break;
                }
                writer.submit(space, push).await.expect("an acknowledgement");
                times.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            times
        })
    });
    let mut times = Vec::new();
    for work in work.collect::<Vec<_>>() {
        times.extend(work.await.expect("a writer"));
    }
    let seconds = began.elapsed().as_secs_f64();
    store.close().await.expect("the store closes");
    let per_second = times.len() as f64 / seconds;
    let (median_ms, worst_ms) = quantiles(times);
    let number = |space: SpaceId| usize::from(space.as_bytes()[0]) - 1;
    let groups = recorder.take().into_iter().map(|(space, entries)| (number(space), entries)).collect();
    Outcome { per_second, median_ms, worst_ms, groups }
}

/// A hash that nobody else has.
pub(super) fn hash(of: u64) -> Hash {
    Hash::of(&[&of.to_le_bytes()])
}
