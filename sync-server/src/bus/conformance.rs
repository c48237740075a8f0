//! What every bus must do, as plain functions over two nodes of it. They panic where it does not conform.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde_bytes::ByteBuf;
use sync_core::id::{DeviceId, Hash, SpaceId};
use sync_core::log::{Cursor, Receipt};
use sync_core::wire::Entries;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Access, Bus, BusMessage, Listener, Notice, Presence};

/// Writes down what it hears.
struct Ear(Mutex<mpsc::UnboundedSender<BusMessage>>);

impl Listener for Ear {
    fn hear(&self, message: BusMessage) {
        let ear = self.0.lock().expect("an ear");
        ear.send(message).expect("somebody who reads what was heard");
    }

    fn lost(&self, _: Option<SpaceId>) {}
}

struct Heard {
    _ear: Arc<dyn Listener>,
    messages: mpsc::UnboundedReceiver<BusMessage>,
}

fn listen(bus: &dyn Bus) -> Heard {
    let (sender, messages) = mpsc::unbounded_channel();
    let ear: Arc<dyn Listener> = Arc::new(Ear(Mutex::new(sender)));
    let weak: Weak<dyn Listener> = Arc::downgrade(&ear);
    bus.listen(weak);
    Heard { _ear: ear, messages }
}

fn random_space() -> SpaceId {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("random numbers");
    SpaceId::from_random(random)
}

fn notice(space: SpaceId, seq: u64) -> BusMessage {
    let place = |seq| Cursor { seq, chain: Hash([seq as u8; 32]) };
    let receipt = Receipt::from_hash(Hash([9; 32]));
    let entries = Some(Entries::default());
    BusMessage::Log(Notice {
        space,
        from: place(seq - 1),
        next: place(seq),
        receipt,
        entries,
        received_ms: Some(seq * 1_000),
    })
}

fn presence(space: SpaceId, session: u64) -> BusMessage {
    let (user, device) = ("ann".to_owned(), DeviceId::from_bytes([1; 16]));
    let data = Some(ByteBuf::from(vec![1, 2, 3]));
    BusMessage::Presence(Presence { space, session, user, device, data, ttl_ms: 1_000 })
}

fn access(space: SpaceId) -> BusMessage {
    BusMessage::Access(Access { space, user: "ann".to_owned() })
}

/// Marks messages that only find out whether a space is joined already.
const KNOCK: u64 = 0;
/// How long they wait for each other, so that they do not fill any queue.
const BETWEEN_KNOCKS: Duration = Duration::from_millis(5);

/// All of it, over two nodes of the same bus.
pub async fn all(one: &dyn Bus, other: &dyn Bus) {
    let (mut here, mut there) = (listen(one), listen(other));
    let (both, alone, left) = (random_space(), random_space(), random_space());
    for space in [both, left] {
        one.join(space);
    }
    for space in [both, alone] {
        other.join(space);
    }
    joined(other, &mut here, both).await;
    joined(one, &mut there, both).await;
    joined(one, &mut there, alone).await;

    for seq in 1..=10 {
        one.publish(notice(both, seq));
        let mut own = here.messages.try_recv();
        while matches!(&own, Ok(BusMessage::Presence(presence)) if presence.session == KNOCK) {
            own = here.messages.try_recv();
        }
        assert_eq!(own, Ok(notice(both, seq)), "one's own listener hears it before `publish` returns");
    }
    for seq in 1..=10 {
        assert_eq!(next(&mut there).await, notice(both, seq), "each once and in order");
    }
    other.publish(access(both));
    assert_eq!(next(&mut here).await, access(both));
    assert_eq!(next(&mut there).await, access(both));
    other.publish(presence(both, 7));
    assert_eq!(next(&mut here).await, presence(both, 7), "what is heard is what was said");
    assert_eq!(next(&mut there).await, presence(both, 7));

    one.leave(left);
    one.publish(notice(left, 1));
    other.publish(notice(alone, 1));
    other.publish(notice(both, 1));
    assert_eq!(next(&mut here).await, notice(both, 1), "and nothing of spaces that it has not joined");
    assert_eq!(here.messages.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    assert!(one.is_up() && other.is_up(), "whoever gets messages through says so");
}

/// Knocks from the other side until it is heard: joining may take its time.
async fn joined(elsewhere: &dyn Bus, heard: &mut Heard, space: SpaceId) {
    loop {
        elsewhere.publish(presence(space, KNOCK));
        while let Ok(Some(message)) = timeout(BETWEEN_KNOCKS, heard.messages.recv()).await {
            if message.space() == space {
                return;
            }
        }
    }
}

/// The next message that is no knock.
async fn next(heard: &mut Heard) -> BusMessage {
    loop {
        match heard.messages.recv().await.expect("a message") {
            BusMessage::Presence(presence) if presence.session == KNOCK => {}
            message => return message,
        }
    }
}
