//! The live connection: how soon an edit is seen, how many changes a second are delivered, what an idle connection costs,
//! and what a reader that does not read costs the others.

pub mod connection;
pub mod descriptors;
pub mod idle;
pub mod latency;
pub mod script;
pub mod server;
pub mod stalled;
pub mod throughput;

use std::net::SocketAddr;

use sync_core::id::SpaceId;
use sync_core::log::Cursor;

use connection::{Connection, Follower};
use script::Script;

/// Documents that are edited, each by one writer, watched by one reader, in a space of its own.
const PAIRS: usize = 50;

/// A writer and a reader of one space, on live connections. Both follow it, as phones do.
pub struct Pair {
    space: SpaceId,
    writer: Connection,
    reader: Follower,
    script: Script,
}

impl Pair {
    async fn open(address: SocketAddr, script: Script, tokens: [&str; 2]) -> Self {
        let space = script.space;
        let mut writer = Connection::open(address, tokens[0]).await;
        writer.send(script.setup.clone()).await;
        writer.acknowledged(script::SETUP_ID).await;
        writer.subscribe(space, None).await;
        let reader = Connection::open(address, tokens[1]).await;
        let reader = Follower::start(reader, space, Cursor::start(space)).await;
        Self { space, writer, reader, script }
    }

    /// Sends the next change and waits until the reader has it and the writer knows that it is durable; answers when the
    /// reader had it, in milliseconds. `None` when the script has ended.
    async fn exchange(&mut self) -> Option<f64> {
        let (id, frame) = self.script.next()?;
        let sent = std::time::Instant::now();
        self.writer.send(frame).await;
        let delivered = async {
            self.reader.reach(id).await;
            sent.elapsed().as_secs_f64() * 1e3
        };
        Some(tokio::join!(self.writer.acknowledged(id), delivered).1)
    }
}
