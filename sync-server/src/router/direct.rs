//! Requests without a network between: for simulations, which have one of their own.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Method, Request};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Server;
use crate::fanout::sweep;

/// The routes, to be asked directly.
#[derive(Clone)]
pub struct Direct(TowerToHyperService<Router>);

impl Direct {
    /// Asks with a frame in msgpack, as an app does; gives the status and the body. `None` where there was no answer at all.
    pub async fn ask(&self, method: &str, path: &str, token: &str, body: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        let msgpack = "application/msgpack";
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).ok()?)
            .uri(path)
            .header(CONTENT_TYPE, msgpack)
            .header(ACCEPT, msgpack)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::from(body))
            .ok()?;
        let answer = self.0.call(request).await.ok()?;
        let status = answer.status().as_u16();
        Some((status, to_bytes(answer.into_body(), usize::MAX).await.ok()?.to_vec()))
    }
}

impl Direct {
    /// Serves a stream as one connection, that may become a WebSocket.
    pub async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), self.0).with_upgrades();
        // How it ends, the other side sees.
        let _ = connection.await;
    }
}

impl Server {
    /// What a heartbeat's period brings, now.
    #[doc(hidden)]
    pub async fn beat(&self) {
        sweep::period(&self.app.live.fanout, &*self.app.store).await;
    }

    /// Its routes, to be asked without a network.
    #[doc(hidden)]
    pub fn direct(&self) -> Direct {
        Direct(TowerToHyperService::new(self.router()))
    }
}
