//! Connections that follow a space with a document each and say nothing.

use futures_util::future::join_all;
use serde_json::{Value, json};
use sync_core::id::SpaceId;
use sync_core::log::Cursor;

use super::{Order, mark};
use crate::live::connection::{Connection, Follower};
use crate::live::script::{Kind, SETUP_ID, Script};
use crate::live::throughput::device;

/// Connections that are being opened at the same time.
const OPENING: usize = 20;

pub fn run(order: &Order) -> Value {
    let steps: Vec<usize> = serde_json::from_value(order.told["steps"].clone()).expect("steps");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // One that makes the server load and allocate what it needs once.
        let mut open = vec![follow(order, usize::MAX).await];
        mark("0");
        for step in steps {
            while open.len() <= step {
                let from = open.len() - 1;
                open.extend(join_all((from..step.min(from + OPENING)).map(|number| follow(order, number))).await);
            }
            mark(&step.to_string());
        }
    });
    json!({})
}

/// A phone that joined: it follows what another one of its user has made.
async fn follow(order: &Order, number: usize) -> Follower {
    let user = format!("w5-{number}");
    let token = |role| sync_tests::rig::token(&order.data, &user, device(number, role));
    let space = SpaceId::personal(&user);
    let script = Script::write(&[(space, device(number, 1))], 0, Kind::Keystroke).remove(0);
    let mut author = Connection::open(order.address, &token(1)).await;
    author.send(script.setup).await;
    author.acknowledged(SETUP_ID).await;
    drop(author);
    let connection = Connection::open(order.address, &token(2)).await;
    Follower::start(connection, space, Cursor::start(space)).await
}
