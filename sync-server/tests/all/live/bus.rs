//! Several nodes, and messages that are lost between them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sync_core::id::SpaceId;
use sync_core::wire::LiveResponse;
use sync_server::Config;
use sync_server::bus::memory::MemoryBus;
use sync_server::bus::{Bus, BusMessage, Listener};
use tokio::time::timeout;

use crate::world::{World, typing};

/// Loses every notice, and perhaps says so.
struct Forgetful {
    bus: MemoryBus,
    is_up: bool,
}

impl Bus for Forgetful {
    fn listen(&self, listener: Weak<dyn Listener>) {
        self.bus.listen(listener);
    }

    fn join(&self, space: SpaceId) {
        self.bus.join(space);
    }

    fn leave(&self, space: SpaceId) {
        self.bus.leave(space);
    }

    fn publish(&self, message: BusMessage) {
        if !matches!(message, BusMessage::Log(_)) {
            self.bus.publish(message);
        }
    }

    fn is_up(&self) -> bool {
        self.is_up
    }
}

fn forgetful(is_up: bool) -> Arc<dyn Bus> {
    Arc::new(Forgetful { bus: MemoryBus::new(), is_up })
}

#[tokio::test]
async fn a_lost_notice_is_found_by_the_next_heartbeat() {
    let mut config = Config::default();
    config.live.heartbeat_ms = 50;
    let world = World::on(|server| server.config(config).bus(forgetful(true))).await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut writer, mut reader) = (ann.link().await, tablet.link().await);
    writer.follow(ann.space, None).await;
    reader.follow(ann.space, None).await;
    for seq in [2, 4] {
        let items = typing(ann.device, 1);
        let run = ann.run(items);
        assert!(writer.push(ann.space, run).await.1.is_none());
        assert_eq!(writer.page(ann.space).await.next.seq, seq);
        // The heartbeat tells the head once; the page that it makes the server read comes before it or after.
        let (mut told, mut shown) = (false, false);
        while !(told && shown) {
            match reader.hear_any().await {
                LiveResponse::Beat { heads } => {
                    told |= !heads.is_empty();
                    assert!(heads.iter().all(|head| (head.space, head.head.seq) == (ann.space, seq)));
                }
                LiveResponse::Page { page, .. } => {
                    shown = true;
                    assert_eq!(page.next.seq, seq);
                }
                other => panic!("neither beat nor page: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn while_the_bus_is_down_the_database_is_looked_at_every_second() {
    let mut config = Config::default();
    config.live.heartbeat_ms = 60_000;
    let world = World::on(|server| server.config(config).bus(forgetful(false))).await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut writer, mut reader) = (ann.link().await, tablet.link().await);
    reader.follow(ann.space, None).await;
    for seq in [2, 4, 6] {
        let items = typing(ann.device, 1);
        let run = ann.run(items);
        writer.push(ann.space, run).await;
        let page = timeout(Duration::from_secs(5), reader.page(ann.space)).await.expect("long before a heartbeat");
        assert_eq!(page.next.seq, seq);
    }
}

#[tokio::test]
async fn what_is_written_on_one_node_is_seen_on_the_other() {
    let bus = MemoryBus::new();
    let other_end = bus.node();
    let one = World::on(|server| server.bus(Arc::new(bus))).await;
    let store = Arc::clone(one.server.store());
    let other = World::beside(&one, |server| server.store(store).bus(Arc::new(other_end))).await;
    let (mut ann, mut tablet) = (one.phone("ann"), other.phone("ann"));
    let (mut here, mut there) = (ann.link().await, tablet.link().await);
    here.follow(ann.space, None).await;
    there.follow(ann.space, None).await;
    for round in 0..3 {
        let items = typing(ann.device, 1);
        let run = ann.run(items);
        let (_, page) = here.push(ann.space, run).await;
        assert_eq!(page.unwrap().next, there.page(ann.space).await.next);
        let items = typing(tablet.device, 1);
        let run = tablet.run(items);
        let (_, page) = there.push(ann.space, run).await;
        assert_eq!(here.page(ann.space).await.next.seq, 4 * (round + 1));
        assert_eq!(page.unwrap().next.seq, 4 * (round + 1));
    }
}
