//! 50 documents, each with one writer and one reader, and one change in flight each: how many are delivered.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use sync_core::id::{DeviceId, SpaceId};

use super::script::{Kind, Script};
use super::server::{Server, cpu_seconds};
use super::{PAIRS, Pair};
use crate::{Figure, quantiles};

/// More than can be delivered in the time.
const CHANGES: usize = 4_000;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(8);

pub fn measure() -> Vec<Figure> {
    let server = Server::start();
    // On one thread: beside the server, the load should take as little of the machine as it can.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(run(&server));
    let Outcome { times, seconds, cpu, load } = outcome;
    let delivered = times.len() as f64;
    let rate = delivered / seconds;
    let per_change = cpu / delivered * 1e4;
    let load = load / delivered * 1e4;
    let (median, worst) = quantiles(times);
    vec![
        Figure::against(
            "50 documents, one writer and one reader each, one change in flight: delivered",
            format!("{rate:.0} changes/s"),
            "≥ 10,000/s",
            rate >= 10_000.0,
        ),
        Figure::against(
            "the server's processor time for 10,000 of them",
            format!("{per_change:.2} s"),
            "< 0.4 s",
            per_change < 0.4,
        ),
        Figure::note("and that of the writers and readers themselves", format!("{load:.2} s")),
        Figure::note("from send to the reader, median / p99", format!("{median:.1} / {worst:.1} ms")),
    ]
}

struct Outcome {
    times: Vec<f64>,
    seconds: f64,
    cpu: f64,
    /// What writers and readers took themselves.
    load: f64,
}

async fn run(server: &Server) -> Outcome {
    let pairs = open_pairs(server.address(), server.data(), PAIRS, CHANGES, Kind::Keystroke).await;
    let mut costs = Vec::new();
    let looking = |_: &str| costs.push((server.cpu_seconds(), cpu_seconds("self")));
    let (times, seconds) = deliver(pairs, WARM_UP, MEASURED, looking).await;
    let [from, to] = costs[..] else { panic!("a beginning and an end") };
    Outcome { times, seconds, cpu: to.0 - from.0, load: to.1 - from.1 }
}

/// Has every pair exchange one change after the other; answers in how many milliseconds each arrived, of those that were sent
/// after the warm-up, and in how many seconds. `at_mark` is called at the beginning and at the end of what counts.
pub async fn deliver(
    pairs: Vec<Pair>,
    warm_up: Duration,
    measured: Duration,
    mut at_mark: impl FnMut(&str),
) -> (Vec<f64>, f64) {
    let began = Instant::now();
    let (from, until) = (began + warm_up, began + warm_up + measured);
    let work = pairs.into_iter().map(|mut pair| {
        tokio::spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                let Some(time) = pair.exchange().await else { break };
                if Instant::now() >= from {
                    times.push(time);
                }
            }
            // The connections stay until all are done: closing them is not what is measured.
            (times, pair)
        })
    });
    let work: Vec<_> = work.collect();
    tokio::time::sleep_until(from.into()).await;
    at_mark("begin");
    tokio::time::sleep_until(until.into()).await;
    at_mark("end");
    let seconds = from.elapsed().as_secs_f64();
    let mut times = Vec::new();
    let mut done = Vec::new();
    for work in work {
        let (some, pair) = work.await.expect("a pair");
        times.extend(some);
        done.push(pair);
    }
    (times, seconds)
}

/// Users with a space of their own, and two devices in it.
pub async fn open_pairs(address: SocketAddr, data: &Path, pairs: usize, changes: usize, kind: Kind) -> Vec<Pair> {
    let users: Vec<String> = (0..pairs).map(|number| format!("user-{number}")).collect();
    let writers: Vec<_> = users.iter().enumerate().map(|(at, user)| (SpaceId::personal(user), device(at, 1))).collect();
    let scripts = Script::write(&writers, changes, kind);
    let mut pairs = Vec::new();
    for (at, (user, script)) in users.iter().zip(scripts).enumerate() {
        let tokens = [1, 2].map(|role| sync_tests::rig::token(data, user, device(at, role)));
        pairs.push(Pair::open(address, script, [&tokens[0], &tokens[1]]).await);
    }
    pairs
}

/// A device of the user with that number.
pub fn device(user: usize, role: u8) -> DeviceId {
    let mut bytes = [role; 16];
    bytes[..8].copy_from_slice(&(user as u64).to_le_bytes());
    DeviceId::from_random(bytes)
}
