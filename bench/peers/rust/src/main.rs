//! samod as a server: its file store, and axum's WebSocket as its documentation shows it. `bench-peers FOLDER` prints its address.

use std::net::Ipv4Addr;

use axum::Router;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::routing::get;
use samod::Repo;
use samod::storage::TokioFilesystemStorage;

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).expect("a folder");
    let repo = Repo::build_tokio().with_storage(TokioFilesystemStorage::new(folder)).load().await;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let acceptor = repo.make_acceptor(url::Url::parse(&format!("ws://{address}")).expect("a URL")).expect("an acceptor");
    let upgrade = get(move |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(move |socket: WebSocket| async move {
            acceptor.accept_axum(socket, None).expect("the repo runs");
        })
    });
    println!("{address}");
    axum::serve(listener, Router::new().route("/", upgrade)).await.expect("a server");
}
