//! Against a library's client, and by hand where that would not misbehave.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::*;

const MAX: usize = LIVE_FRAME_BYTES_MAX;

async fn pair() -> (DuplexStream, Receiver<DuplexStream>, Sender<DuplexStream>) {
    let (client, server) = duplex(1 << 12);
    let (mut receiver, sender) = open(server, 1 << 10, Arc::new(Semaphore::new(1))).await;
    receiver.trust(Arc::new(Semaphore::new(1)));
    (client, receiver, sender)
}

/// A client's frame, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            bytes.push(0x80 | 0x7e);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What a receiver makes of these bytes, and then the end of the stream.
async fn read(bytes: Vec<u8>) -> Vec<Incoming> {
    let (mut client, mut receiver, sender) = pair().await;
    let write = async move {
        // It need not read all of it. What it answers has somewhere to go until the end.
        let _ = client.write_all(&bytes).await;
        let _ = client.shutdown().await;
        client
    };
    let read = async {
        let mut all = Vec::new();
        loop {
            let incoming = receiver.next().await;
            let ends = !matches!(incoming, Incoming::Frame(_) | Incoming::Sign);
            all.push(incoming);
            if ends {
                // Both halves, or the other side would wait for the rest to be read.
                drop((receiver, sender));
                return all;
            }
        }
    };
    tokio::join!(write, read).1
}

fn whole(payload: &[u8]) -> Incoming {
    Incoming::Frame(Bytes::copy_from_slice(payload))
}

#[tokio::test]
async fn messages_of_all_sizes_come_and_go() {
    let (client, mut receiver, mut sender) = pair().await;
    let sizes = [0, 1, 125, 126, 4_095, 4_096, 4_097, 65_535, 65_536, 65_537, 300_000, MAX];
    let message = |size: usize| -> Bytes { (0..size).map(|at| (at % 251) as u8).collect() };
    let server = async {
        for size in sizes {
            assert_eq!(receiver.next().await, whole(&message(size)), "{size}");
            sender.put(message(size));
            sender.put(message(3));
            sender.flush().await.unwrap();
        }
        assert_eq!(receiver.next().await, Incoming::Close(Some(1000)));
        // The answer waits already, and after it there is nothing more to say.
        let _ = sender.flush().await;
        assert_eq!((receiver.traffic().messages, sender.traffic().messages), (12, 24));
    };
    let client = async {
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        for size in sizes {
            client.send(Message::Binary(message(size))).await.unwrap();
            for size in [size, 3] {
                assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(message(size)));
            }
        }
        let close = CloseFrame { code: 1000.into(), reason: "".into() };
        client.close(Some(close)).await.unwrap();
        assert!(matches!(client.next().await, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1000));
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn control_frames_come_between_fragments() {
    let mut bytes = frame(0x02, b"one ");
    bytes.extend(frame(0x89, b"are you there"));
    bytes.extend(frame(0x00, b"two "));
    bytes.extend(frame(0x8a, b""));
    bytes.extend(frame(0x80, b"three"));
    bytes.extend(frame(0x82, b"next"));
    let expected = [Incoming::Sign, Incoming::Sign, whole(b"one two three"), whole(b"next"), Incoming::Gone];
    assert_eq!(read(bytes).await, expected);
}

#[tokio::test]
async fn a_large_message_waits_for_a_place_and_a_small_one_does_not() {
    let large = Arc::new(Semaphore::new(1));
    let taken = Arc::clone(&large).acquire_owned().await.unwrap();
    let (mut client, server) = duplex(1 << 20);
    let (mut receiver, _sender) = open(server, usize::MAX, Arc::clone(&large)).await;
    client.write_all(&frame(0x82, &vec![1; 60_000])).await.unwrap();
    assert_eq!(receiver.next().await, whole(&vec![1; 60_000]));
    let bytes = vec![2; 300_000];
    client.write_all(&frame(0x82, &bytes)).await.unwrap();
    assert_eq!(futures_util::FutureExt::now_or_never(receiver.next()), None, "no place");
    drop(taken);
    assert_eq!(receiver.next().await, whole(&bytes));
    assert_eq!(large.available_permits(), 0, "it is still being worked on");
    client.write_all(&frame(0x82, b"next")).await.unwrap();
    assert_eq!(receiver.next().await, whole(b"next"));
    assert_eq!(large.available_permits(), 1);
}

#[tokio::test]
async fn a_user_who_has_all_its_places_keeps_none_of_the_others() {
    let (large, own) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(0)));
    let (mut client, server) = duplex(1 << 20);
    let (mut receiver, _sender) = open(server, 1 << 10, Arc::clone(&large)).await;
    receiver.trust(Arc::clone(&own));
    let bytes = vec![2; 300_000];
    client.write_all(&frame(0x82, &bytes)).await.unwrap();
    assert_eq!(futures_util::FutureExt::now_or_never(receiver.next()), None);
    assert_eq!(large.available_permits(), 1);
    own.add_permits(1);
    assert_eq!(receiver.next().await, whole(&bytes));
}

#[tokio::test]
async fn pings_do_not_make_a_large_message_small() {
    let large = Arc::new(Semaphore::new(0));
    let (mut client, server) = duplex(1 << 20);
    let (mut receiver, _sender) = open(server, usize::MAX, large).await;
    client.write_all(&frame(0x02, &vec![1; 40_000])).await.unwrap();
    for _ in 0..3 {
        client.write_all(&frame(0x89, &[0; 100])).await.unwrap();
        assert_eq!(receiver.next().await, Incoming::Sign);
    }
    client.write_all(&frame(0x80, &vec![1; 40_000])).await.unwrap();
    assert_eq!(futures_util::FutureExt::now_or_never(receiver.next()), None, "it needs a place");
}

#[tokio::test]
async fn any_number_of_pings_needs_no_place() {
    let (mut client, server) = duplex(1 << 20);
    let (mut receiver, _sender) = open(server, usize::MAX, Arc::new(Semaphore::new(0))).await;
    for _ in 0..2_000 {
        client.write_all(&frame(0x8a, &[0; 100])).await.unwrap();
        assert_eq!(receiver.next().await, Incoming::Sign);
    }
}

#[tokio::test]
async fn buffers_are_exchanged_only_when_nothing_is_in_them() {
    let (mut client, mut receiver, mut sender) = pair().await;
    let large: Vec<u8> = (0..100_000).map(|at| (at % 251) as u8).collect();
    let (first, second) = (frame(0x82, &large), frame(0x82, b"second"));
    let is_bloated = |sender: &Sender<DuplexStream>| lock(&sender.socket).is_bloated;
    let write = async {
        client.write_all(&first).await.unwrap();
        // The beginning of the next one comes along.
        client.write_all(&second[..3]).await.unwrap();
        client
    };
    let (mut client, incoming) = tokio::join!(write, receiver.next());
    assert_eq!(incoming, whole(&large));
    assert_eq!(futures_util::FutureExt::now_or_never(receiver.next()), None);
    sender.shed();
    assert!(is_bloated(&sender), "something was read that is no message yet");
    client.write_all(&second[3..]).await.unwrap();
    assert_eq!(receiver.next().await, whole(b"second"));
    // Who waits before is woken after, though by another one's leave.
    let exchange = async {
        sender.shed();
        assert!(!is_bloated(&sender));
        tokio::task::yield_now().await;
        client.write_all(&frame(0x82, b"third")).await.unwrap();
    };
    let (incoming, ()) = tokio::join!(biased; receiver.next(), exchange);
    assert_eq!(incoming, whole(b"third"));
    for message in [large, b"fourth".to_vec()] {
        let bytes = Bytes::from(message);
        sender.put(bytes.clone());
        let mut client = WebSocketStream::from_raw_socket(&mut client, Role::Client, None).await;
        let (sent, got) = tokio::join!(sender.flush(), client.next());
        assert!(sent.is_ok());
        assert_eq!(got.unwrap().unwrap(), Message::Binary(bytes));
        sender.shed();
        assert!(!is_bloated(&sender));
    }
    sender.put_close(1000, "");
    sender.put(Bytes::from(vec![0; 10_000]));
    sender.shed();
    assert!(is_bloated(&sender), "not when one side closes");
}

#[tokio::test]
async fn what_breaks_the_rules_is_told_apart() {
    let mut unmasked = frame(0x82, b"x");
    unmasked[1] &= 0x7f;
    let huge = {
        let mut header = vec![0x82, 0xff];
        header.extend_from_slice(&u64::MAX.to_be_bytes());
        header.extend_from_slice(&[0; 4]);
        header
    };
    let half = |first: u8| [frame(first, b"x"), frame(0x80, &vec![0; MAX])].concat();
    let table = [
        ("text", frame(0x81, b"hello"), Incoming::Text),
        ("unmasked", unmasked, Incoming::Malformed),
        ("a reserved bit", frame(0xc2, b"x"), Incoming::Malformed),
        ("an unknown opcode", frame(0x83, b"x"), Incoming::Malformed),
        ("an unknown control opcode", frame(0x8b, b"x"), Incoming::Malformed),
        ("a control frame in fragments", frame(0x09, b"x"), Incoming::Malformed),
        ("a long control frame", frame(0x89, &[0; 126]), Incoming::Malformed),
        ("a continuation of nothing", frame(0x80, b"x"), Incoming::Malformed),
        ("a message within a message", [frame(0x02, b"x"), frame(0x82, b"x")].concat(), Incoming::Malformed),
        ("too large", frame(0x82, &vec![0; MAX + 1]), Incoming::TooLarge),
        ("too large by claim alone", huge, Incoming::TooLarge),
        ("too large in sum", half(0x02), Incoming::TooLarge),
        ("half a close code", frame(0x88, &[3]), Incoming::Malformed),
        ("a close without a code", frame(0x88, &[]), Incoming::Close(None)),
        ("a close", frame(0x88, &[0x0f, 0xa1, b'x']), Incoming::Close(Some(4001))),
        ("cut off", frame(0x82, b"whole")[..8].to_vec(), Incoming::Gone),
        ("cut off in its header", frame(0x82, &[0; 200])[..5].to_vec(), Incoming::Gone),
        ("nothing", Vec::new(), Incoming::Gone),
    ];
    for (what, bytes, expected) in table {
        assert_eq!(read(bytes).await, [expected], "{what}");
    }
}

#[tokio::test]
async fn whoever_stops_waiting_loses_nothing() {
    let (mut client, mut receiver, mut sender) = pair().await;
    let message: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
    let bytes = frame(0x82, &message);
    for byte in bytes.chunks(777) {
        client.write_all(byte).await.unwrap();
        if let Some(incoming) = futures_util::FutureExt::now_or_never(receiver.next()) {
            assert_eq!(incoming, whole(&message));
        }
    }
    // And the same out, where the other side takes little at a time.
    sender.put(Bytes::from(message.clone()));
    sender.put(Bytes::from_static(b"behind it"));
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let mut got = Vec::new();
    while got.len() < 2 {
        let flushed = futures_util::FutureExt::now_or_never(sender.flush());
        assert!(flushed.is_none_or(|flushed| flushed.is_ok()));
        if let Some(message) = futures_util::FutureExt::now_or_never(client.next()) {
            got.push(message.unwrap().unwrap());
        }
    }
    assert_eq!(got, [Message::Binary(message.into()), Message::Binary(Bytes::from_static(b"behind it"))]);
}
