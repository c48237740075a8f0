//! 2,000 connections that follow a space each and say nothing: what they cost the server.

use futures_util::future::join_all;
use sync_core::id::SpaceId;
use sync_core::log::Cursor;

use super::connection::{Connection, Follower};
use super::descriptors;
use super::server::Server;
use super::throughput::device;
use crate::Figure;

const CONNECTIONS: usize = 2_000;
/// Where memory and processor time are looked at.
const STEPS: [usize; 4] = [0, 500, 1_000, CONNECTIONS];
/// Connections that are being opened at the same time.
const OPENING: usize = 20;

pub fn measure() -> Vec<Figure> {
    descriptors::at_least(2 * CONNECTIONS as u64);
    let server = Server::start();
    let tokens: Vec<(SpaceId, String)> = (0..=CONNECTIONS)
        .map(|number| {
            let user = format!("user-{number}");
            (SpaceId::personal(&user), server.token(&user, device(number, 1)))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let taken = runtime.block_on(async {
        // One that makes the server load and allocate what it needs once.
        let (space, token) = &tokens[CONNECTIONS];
        let mut open = vec![follow(&server, *space, token).await];
        let mut taken = Vec::new();
        for step in STEPS {
            while open.len() <= step {
                let from = open.len() - 1;
                let some = tokens[from..step.min(from + OPENING)].iter();
                let opening = some.map(|(space, token)| follow(&server, *space, token));
                open.extend(join_all(opening).await);
            }
            taken.push((server.memory_kib(), server.cpu_seconds()));
        }
        taken
    });
    let memory = (taken[3].0 - taken[0].0) / CONNECTIONS as f64;
    let cpu = |from: usize, to: usize| (taken[to].1 - taken[from].1) / (STEPS[to] - STEPS[from]) as f64 * 1e3;
    let (first, second, last) = (cpu(0, 1), cpu(1, 2), cpu(2, 3));
    vec![
        Figure::against(
            "2,000 idle connections with a subscription each: resident memory a connection",
            format!("{memory:.1} KiB"),
            "< 20 KiB",
            memory < 20.0,
        ),
        Figure::against(
            "processor time to connect one: of the first 500, the second, and the last 1,000",
            format!("{first:.2}, {second:.2}, {last:.2} ms"),
            "linear: last ≤ 1.5 × first",
            last <= 1.5 * first,
        ),
    ]
}

async fn follow(server: &Server, space: SpaceId, token: &str) -> Follower {
    let connection = Connection::open(server.address(), token).await;
    Follower::start(connection, space, Cursor::start(space)).await
}
