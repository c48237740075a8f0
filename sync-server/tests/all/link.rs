//! A phone's live connection, over a real socket.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sync_core::feed::Run;
use sync_core::id::SpaceId;
use sync_core::log::{Cursor, Header};
use sync_core::wire::{
    self, AccessToken, CloseCode, ErrorCode, ErrorResponse, LiveRequest, LiveResponse, Page, PageEntry, Pull,
    PullAnswer, PushAnswer, SCHEMA, Welcome,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::world::Phone;

pub struct Link {
    pub socket: WebSocketStream<TcpStream>,
    next: u64,
}

impl Phone {
    /// The upgrade's request, without a token.
    pub fn upgrade(&self) -> tungstenite::handshake::client::Request {
        format!("ws://{}{}/v1/live", self.address, self.prefix).into_client_request().unwrap()
    }

    /// A connection that has not said hello.
    pub async fn dial(&self) -> Link {
        self.dial_with(self.upgrade()).await.unwrap()
    }

    pub async fn dial_with(
        &self,
        request: tungstenite::handshake::client::Request,
    ) -> Result<Link, tungstenite::Error> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (socket, _) = client_async(request, stream).await?;
        Ok(Link { socket, next: 0 })
    }

    pub fn hello(&self) -> LiveRequest {
        LiveRequest::Hello { schema: SCHEMA, token: Some(AccessToken(self.token.clone())) }
    }

    /// A connection that has said hello.
    pub async fn link(&self) -> Link {
        self.greeted().await.0
    }

    /// Whether a connection is let in just now.
    pub async fn dial_round(&self) -> Result<(), CloseCode> {
        let mut link = self.dial().await;
        link.say(&self.hello()).await;
        match link.socket.next().await {
            Some(Ok(Message::Binary(_))) => Ok(()),
            Some(Ok(Message::Close(Some(frame)))) => Err(CloseCode::from_number(frame.code.into()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    pub async fn greeted(&self) -> (Link, Welcome) {
        let mut link = self.dial().await;
        link.say(&self.hello()).await;
        match link.hear().await {
            LiveResponse::Hello(welcome) => (link, welcome),
            other => panic!("no hello: {other:?}"),
        }
    }
}

pub fn since(cursor: Option<Cursor>) -> Pull {
    Pull { since: cursor, bytes_max: None, own: false, version: true, snapshots: None }
}

/// The place that a page of others' entries leads to.
pub fn chained(at: Cursor, page: &Page) -> Cursor {
    let end = page.entries.0.iter().fold(at, |at, entry| {
        let PageEntry { id, kind, doc, verdict, .. } = *entry;
        at.next(&Header { id, kind, doc, hash: entry.hash.expect("an entry of others"), verdict })
    });
    assert_eq!(end, page.next, "a page continues what came before, without a hole");
    end
}

/// The same where hashes of one's own entries are left out: by the count alone.
pub fn counted(at: Cursor, page: &Page) -> Cursor {
    assert_eq!(at.seq + page.entries.0.len() as u64, page.next.seq, "without a hole");
    page.next
}

impl Link {
    pub async fn say(&mut self, request: &LiveRequest) {
        self.send(wire::encode(request).unwrap()).await;
    }

    pub async fn send(&mut self, frame: Vec<u8>) {
        self.socket.send(Message::Binary(Bytes::from(frame))).await.unwrap();
    }

    /// The next frame that is no heartbeat.
    pub async fn hear(&mut self) -> LiveResponse {
        loop {
            match self.hear_any().await {
                LiveResponse::Beat { .. } => {}
                other => return other,
            }
        }
    }

    pub async fn hear_any(&mut self) -> LiveResponse {
        loop {
            match self.socket.next().await.expect("a message").unwrap() {
                Message::Binary(frame) => return LiveResponse::read(&frame).unwrap().expect("a known frame"),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Asks, and says under which number.
    pub async fn ask(&mut self, space: SpaceId, push: Option<Run>, pull: Option<Pull>, subscribe: bool) -> u64 {
        self.next += 1;
        let id = self.next;
        self.say(&LiveRequest::Sync { id, space, push, pull, subscribe, snapshot: None }).await;
        id
    }

    /// Asks and gets the answer.
    pub async fn sync(
        &mut self,
        space: SpaceId,
        push: Option<Run>,
        pull: Option<Pull>,
        subscribe: bool,
    ) -> (Option<PushAnswer>, Option<PullAnswer>) {
        let asked = self.ask(space, push, pull, subscribe).await;
        match self.hear().await {
            LiveResponse::Answer { id, space: of, push, pull, .. } => {
                assert_eq!((id, of), (asked, space));
                (push, pull)
            }
            other => panic!("no answer: {other:?}"),
        }
    }

    /// Follows a space from there on, and gets the first page.
    pub async fn follow(&mut self, space: SpaceId, cursor: Option<Cursor>) -> Page {
        match self.sync(space, None, Some(since(cursor)), true).await {
            (None, Some(PullAnswer::Page(page))) => page,
            other => panic!("not followed: {other:?}"),
        }
    }

    /// Pushes, and gets the answer with what came along.
    pub async fn push(&mut self, space: SpaceId, run: Run) -> (PushAnswer, Option<Page>) {
        match self.sync(space, Some(run), None, false).await {
            (Some(push), None) => (push, None),
            (Some(push), Some(PullAnswer::Page(page))) => (push, Some(page)),
            other => panic!("not pushed: {other:?}"),
        }
    }

    /// The next page of a followed space.
    pub async fn page(&mut self, space: SpaceId) -> Page {
        match self.hear().await {
            LiveResponse::Page { space: of, page } if of == space => page,
            other => panic!("no page of {space}: {other:?}"),
        }
    }

    /// The refusal of a request.
    pub async fn refused(&mut self, code: ErrorCode) -> ErrorResponse {
        match self.hear().await {
            LiveResponse::Refused { error, .. } if error.code == code => error,
            other => panic!("not refused with {code:?}: {other:?}"),
        }
    }

    /// How the server closes, whatever it says before.
    pub async fn closed(&mut self) -> CloseCode {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return CloseCode::from_number(frame.code.into()).expect("one of our codes");
                }
                Some(Ok(_)) => {}
                other => panic!("ended without a code: {other:?}"),
            }
        }
    }
}
