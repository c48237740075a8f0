//! 500 readers that never read, while 50 documents are edited: what they cost the server, and what they cost the others.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::connection::{Connection, Follower};
use super::script::Kind;
use super::server::{Server, sockets_kib};
use super::throughput::{device, open_pairs};
use super::{PAIRS, Pair, descriptors};
use crate::{Figure, quantiles};

const STALLED: usize = 500;
/// Of each document.
const CHANGES_PER_SECOND: u64 = 20;
/// So much that what a stalled reader misses is more than the server may keep for it.
const CHANGE_CHARACTERS: usize = 2_000;
const ALONE: Duration = Duration::from_secs(8);
const BESIDE: Duration = Duration::from_secs(15);
const WAKING_MAX: Duration = Duration::from_secs(20);
/// A connection's queue, and a tenth.
const MEMORY_KIB_MAX: f64 = 256.0 * 1.1;

pub fn measure() -> Vec<Figure> {
    descriptors::at_least(4_096);
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let changes = (ALONE + BESIDE).as_secs() * CHANGES_PER_SECOND;
    let outcome = runtime.block_on(run(&server, changes as usize));
    let Outcome { alone, beside, memory, kernel, waking, entries } = outcome;
    let ((median, worst), (median_beside, worst_beside)) = (quantiles(alone), quantiles(beside));
    vec![
        Figure::against(
            "500 readers that never read: the server's memory grows by, each",
            format!("{memory:.0} KiB"),
            "< 256 KiB + 10 %",
            memory < MEMORY_KIB_MAX,
        ),
        Figure::note("and the kernel's for its sockets, both ends, each", format!("{kernel:.0} KiB")),
        Figure::against(
            "the others, from send to the reader, p99 without and with them",
            format!("{worst:.1} and {worst_beside:.1} ms"),
            "≤ 2 ×",
            worst_beside <= 2.0 * worst,
        ),
        Figure::note("the same, median", format!("{median:.1} and {median_beside:.1} ms")),
        Figure::note(
            "all 500 wake and have every entry, the chain checked, after",
            format!("{waking:.1} s, {entries} entries"),
        ),
    ]
}

struct Outcome {
    alone: Vec<f64>,
    beside: Vec<f64>,
    memory: f64,
    kernel: f64,
    waking: f64,
    entries: u64,
}

async fn run(server: &Server, changes: usize) -> Outcome {
    let pairs = open_pairs(server.address(), server.data(), PAIRS, changes, Kind::Field(CHANGE_CHARACTERS)).await;
    let (pairs, alone) = edit(pairs, ALONE).await;
    let mut stalled = Vec::new();
    for number in 0..STALLED {
        let (at, role) = (number % PAIRS, 3 + (number / PAIRS) as u8);
        let token = server.token(&format!("user-{at}"), device(at, role));
        let connection = Connection::open_narrow(server.address(), &token).await;
        let pair = &pairs[at];
        stalled.push((at, Follower::start(connection, pair.space, pair.reader.cursor()).await));
    }
    let before = (server.memory_kib(), sockets_kib());
    server.reset_peak_memory();
    let (pairs, beside) = edit(pairs, BESIDE).await;
    let memory = (server.peak_memory_kib() - before.0) / STALLED as f64;
    let kernel = (sockets_kib() - before.1) / STALLED as f64;
    let began = Instant::now();
    let from: u64 = stalled.iter().map(|(_, follower)| follower.cursor().seq).sum();
    let waking = stalled.into_iter().map(|(at, mut follower)| {
        let end = pairs[at].reader.cursor();
        tokio::spawn(async move {
            follower.reach(end.seq).await;
            assert_eq!(follower.cursor(), end, "the same log as the reader that always read");
            end.seq
        })
    });
    let waking: Vec<_> = waking.collect();
    let all = async {
        let mut to = 0;
        for reader in waking {
            to += reader.await.expect("a reader that woke");
        }
        to
    };
    let to = tokio::time::timeout(WAKING_MAX, all).await.expect("all get everything in time");
    Outcome { alone, beside, memory, kernel, waking: began.elapsed().as_secs_f64(), entries: to - from }
}

/// Every pair at the same pace, one after the other within it.
async fn edit(pairs: Vec<Pair>, time: Duration) -> (Vec<Pair>, Vec<f64>) {
    let interval = Duration::from_secs(1) / CHANGES_PER_SECOND as u32;
    let began = Instant::now();
    let work = pairs.into_iter().enumerate().map(|(at, mut pair)| {
        let mut ticks = tokio::time::interval_at(began + interval * at as u32 / PAIRS as u32, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < time {
                ticks.tick().await;
                let Some(took) = pair.exchange().await else { break };
                times.push(took);
            }
            (pair, times)
        })
    });
    let work: Vec<_> = work.collect();
    let (mut pairs, mut times) = (Vec::new(), Vec::new());
    for work in work {
        let (pair, some) = work.await.expect("a pair");
        pairs.push(pair);
        times.extend(some);
    }
    (pairs, times)
}
