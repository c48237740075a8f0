//! The process that tests start in order to kill or measure it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use sync_server::Server;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", data, port] => serve(data, port.parse().expect("a port")),
        other => panic!("not known: {other:?}"),
    }
}

fn serve(data: &str, port: u16) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async move {
        let server = Server::builder().data(data).build().await.expect("a server");
        // After a SIGKILL the port may still be in the kernel's hands for a moment; tokio sets SO_REUSEADDR.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port");
        println!("{}", listener.local_addr().expect("an address"));
        std::io::stdout().flush().expect("somebody reads");
        server.serve(listener, std::future::pending()).await;
    });
}
