//! Connections: accepted up to a number, guarded against those who send a byte a minute, and ended in good order.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::Http;

/// What a connection buffers of a head or a body on its way in. A head that is larger gets 431.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Out of file descriptors: some will come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A refusal that was decided on at the deadline is still sent.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves until `shutdown`. Then no connection is accepted, idle ones are closed, and the others may finish their request
/// while `stop` runs, which refuses those that take too long.
pub(crate) async fn serve<S: Future<Output = ()>>(
    listener: TcpListener,
    router: Router,
    http: &Http,
    shutdown: impl Future<Output = ()>,
    stop: impl FnOnce() -> S,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(http.header_timeout_ms));
    builder.max_buf_size(BUFFER_BYTES_MAX);
    let room = Arc::new(Semaphore::new(http.connections_max));
    let stopping = watch::Sender::new(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, peer, permit) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let routes = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            routes.call(request)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut stopped = stopping.subscribe();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                // The sender outlives this, so the wait ends with the word, never with an error.
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "connection");
            }
            drop(permit);
        });
    }
    drop(listener);
    stopping.send_replace(());
    let deadline = Duration::from_millis(http.shutdown_timeout_ms) + LAST_WORDS;
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let (closed, ()) = tokio::join!(timeout(deadline, all_ended), stop());
    if closed.is_err() {
        tracing::warn!(connections = connections.len(), "connections are cut off");
    }
}

/// A connection, whose it is, and its place.
type Accepted = (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>);

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Accepted {
    // The semaphore is never closed, so there is always a permit.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and must not wait for acknowledgements of earlier ones.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY");
                }
                return (stream, peer, permit);
            }
            Err(error) if is_of_the_caller(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accepting connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_caller(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionRefused | Kind::ConnectionAborted | Kind::ConnectionReset)
}
