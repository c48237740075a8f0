//! A live connection without a client behind it: frames out, frames in, and a log's chain that is followed.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use socket2::SockRef;
use sync_core::id::SpaceId;
use sync_core::log::{Cursor, Header};
use sync_core::wire::{LiveRequest, LiveResponse, Page, Pull, PullAnswer, PushAnswer, SCHEMA, encode};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Of the scripts' own requests, none has this id.
const SUBSCRIPTION: u64 = u64::MAX;
/// Thousands of them are open in one process.
const READ_BUFFER_BYTES: usize = 4 << 10;
const RECEIVE_BUFFER_BYTES: u32 = 4 << 10;
const SEGMENT_BYTES: u32 = 1_400;

pub struct Connection(WebSocketStream<TcpStream>);

impl Connection {
    pub async fn open(address: SocketAddr, token: &str) -> Self {
        Self::over(TcpSocket::new_v4().expect("a socket"), address, token).await
    }

    /// One as over the internet, with small segments and a small buffer: loopback's segments are so large that the kernel
    /// would take megabytes for a connection that does not read, and the server would not notice.
    pub async fn open_narrow(address: SocketAddr, token: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).expect("a small buffer");
        SockRef::from(&socket).set_tcp_mss(SEGMENT_BYTES).expect("small segments");
        Self::over(socket, address, token).await
    }

    async fn over(socket: TcpSocket, address: SocketAddr, token: &str) -> Self {
        socket.set_nodelay(true).expect("no delay");
        let stream = socket.connect(address).await.expect("a connection");
        let mut request = format!("ws://{address}/v1/live").into_client_request().expect("a request");
        let bearer = format!("Bearer {token}").parse().expect("a header");
        request.headers_mut().insert("Authorization", bearer);
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES).write_buffer_size(0);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await.expect("a live connection");
        let mut connection = Self(socket);
        let hello = LiveRequest::Hello { schema: SCHEMA, token: None };
        connection.send(frame(&hello)).await;
        assert!(matches!(connection.next().await, LiveResponse::Hello(_)));
        connection
    }

    pub async fn send(&mut self, frame: Bytes) {
        self.0.send(Message::Binary(frame)).await.expect("the server listens");
    }

    /// The next frame that tells something about a request or a log.
    pub async fn next(&mut self) -> LiveResponse {
        loop {
            let message = self.0.next().await.expect("the connection stays").expect("a message");
            let Message::Binary(bytes) = message else {
                assert!(!message.is_close(), "closed: {message:?}");
                continue;
            };
            match LiveResponse::read(&bytes).expect("a frame") {
                None | Some(LiveResponse::Beat { .. } | LiveResponse::Presence { .. }) => {}
                Some(LiveResponse::Refused { error, .. }) => panic!("refused: {error:?}"),
                Some(response) => return response,
            }
        }
    }

    /// Waits until the push with that id is taken whole.
    pub async fn acknowledged(&mut self, wanted: u64) {
        loop {
            if let LiveResponse::Answer { id, push: Some(push), .. } = self.next().await
                && id == wanted
            {
                let PushAnswer::Taken { need, .. } = push else { panic!("not taken: {push:?}") };
                assert!(need.is_empty(), "nothing is missing");
                return;
            }
        }
    }

    /// Follows a space; answers the page from that place on.
    pub async fn subscribe(&mut self, space: SpaceId, since: Option<Cursor>) -> Page {
        let pull = Pull { since, bytes_max: None, own: false, version: false, snapshots: None };
        let request = LiveRequest::Sync {
            id: SUBSCRIPTION,
            space,
            push: None,
            pull: Some(pull),
            subscribe: true,
            snapshot: None,
        };
        self.send(frame(&request)).await;
        loop {
            if let LiveResponse::Answer { id: SUBSCRIPTION, pull: Some(pull), .. } = self.next().await {
                let PullAnswer::Page(page) = pull else { panic!("not a page: {pull:?}") };
                return page;
            }
        }
    }
}

/// A connection that follows one log, and checks that it goes on without a hole.
pub struct Follower {
    connection: Connection,
    space: SpaceId,
    cursor: Cursor,
}

impl Follower {
    pub async fn start(mut connection: Connection, space: SpaceId, since: Cursor) -> Self {
        let page = connection.subscribe(space, (since.seq > 0).then_some(since)).await;
        let mut follower = Self { connection, space, cursor: since };
        follower.take(page);
        follower
    }

    /// The place that it has come to.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Reads until it has that entry.
    pub async fn reach(&mut self, seq: u64) {
        while self.cursor.seq < seq {
            if let LiveResponse::Page { space, page } = self.connection.next().await {
                assert_eq!(space, self.space);
                self.take(page);
            }
        }
    }

    fn take(&mut self, page: Page) {
        for entry in page.entries.0 {
            let hash = entry.hash.expect("somebody else's entry is whole");
            let header = Header { id: entry.id, kind: entry.kind, doc: entry.doc, hash, verdict: entry.verdict };
            self.cursor = self.cursor.next(&header);
        }
        assert_eq!(self.cursor, page.next, "the page continues the log");
    }
}

fn frame(request: &LiveRequest) -> Bytes {
    encode(request).expect("a frame").into()
}
