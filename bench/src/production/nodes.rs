//! Three nodes over one Postgres and one Redis: how much later an edit is seen on another node than on its own.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use sync_core::id::SpaceId;
use sync_core::log::Cursor;
use sync_tests::nodes::Nodes;
use sync_tests::services::postgres::Postgres;
use sync_tests::services::redis::Redis;

use crate::live::connection::{Connection, Follower};
use crate::live::script::{Kind, SETUP_ID, Script};
use crate::live::throughput::device;
use crate::{Figure, quantiles};

const NODES: usize = 3;
const CHANGES: usize = 600;
const WARM_UP: usize = 50;
const INTERVAL: Duration = Duration::from_millis(10);

pub fn measure() -> Vec<Figure> {
    let postgres = Postgres::start();
    let redis = Redis::start();
    let url = postgres.create_database("rejoin");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(sync_server::store::postgres::migrate(&super::database(&url))).expect("the schema");
    let program = std::env::current_exe().expect("this program");
    let nodes = Nodes::start(&program, NODES, &url, &redis.url());
    let times = runtime.block_on(run(&nodes));
    let medians: Vec<(f64, f64)> = times.into_iter().map(quantiles).collect();
    let (same, worst_same) = medians[0];
    let (other, worst_other) = medians[1..]
        .iter()
        .copied()
        .fold((0.0, 0.0), |worst: (f64, f64), (median, p99)| (worst.0.max(median), worst.1.max(p99)));
    vec![
        Figure::note(
            "three nodes on Postgres and Redis, 100 changes/s: from send to a reader on the same node, median / p99",
            format!("{same:.2} / {worst_same:.1} ms"),
        ),
        Figure::against(
            "to readers on the other nodes, the slower one's",
            format!("{other:.2} / {worst_other:.1} ms, {:.2} ms later", other - same),
            "median ≤ 3 ms later",
            other - same <= 3.0,
        ),
    ]
}

/// Milliseconds from the sending of each change to its arrival, at a reader on each node.
async fn run(nodes: &Nodes) -> Vec<Vec<f64>> {
    let space = SpaceId::personal("ann");
    let mut script = Script::write(&[(space, device(0, 1))], CHANGES, Kind::Keystroke).remove(0);
    let mut writer = Connection::open(nodes.node(0).address(), &nodes.token("ann", device(0, 1))).await;
    writer.send(script.setup.clone()).await;
    writer.acknowledged(SETUP_ID).await;
    let last = SETUP_ID + CHANGES as u64;
    let mut arrivals: Vec<Receiver<(u64, Instant)>> = Vec::new();
    let mut reading = Vec::new();
    for node in 0..NODES {
        let token = nodes.token("ann", device(0, 10 + node as u8));
        let connection = Connection::open(nodes.node(node).address(), &token).await;
        let mut reader = Follower::start(connection, space, Cursor::start(space)).await;
        let (arrived, seen) = channel();
        arrivals.push(seen);
        reading.push(tokio::spawn(async move {
            while reader.cursor().seq < last {
                reader.reach(reader.cursor().seq + 1).await;
                arrived.send((reader.cursor().seq, Instant::now())).expect("somebody counts");
            }
        }));
    }
    let mut sent = Vec::with_capacity(CHANGES);
    let start = Instant::now();
    while let Some((id, frame)) = script.next() {
        tokio::time::sleep_until((start + INTERVAL * sent.len() as u32).into()).await;
        sent.push(Instant::now());
        writer.send(frame).await;
        writer.acknowledged(id).await;
    }
    for reading in reading {
        reading.await.expect("a reader");
    }
    let times = |seen: Receiver<(u64, Instant)>| {
        let mut from = SETUP_ID;
        let mut times = Vec::new();
        for (through, at) in seen.try_iter() {
            times.extend((from..through).map(|id| (at - sent[(id - SETUP_ID) as usize]).as_secs_f64() * 1e3));
            from = through;
        }
        times.split_off(WARM_UP)
    };
    arrivals.into_iter().map(times).collect()
}
