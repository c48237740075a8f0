//! The server as a process of its own, and tokens from its key.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sync_client_ffi::DeviceId;
use sync_server::auth::keys::Keys;
use sync_server::auth::token::Tokens;
use sync_server::{Caller, Config, Server, telemetry};
use tokio::net::TcpListener;

/// The user whose phones these are.
pub const USER: &str = "ann";
/// Longer than any run.
const TOKEN_LIFETIME: Duration = Duration::from_hours(24);
/// What the line with the address begins with.
pub const LISTENING: &str = "listening on http://";

/// Serves on a port (0: a free one) out of a data folder until standard input ends.
pub fn run(data: &Path, port: u16) -> Result<(), Box<dyn Error>> {
    let config = Config { data: data.to_owned(), ..Config::default() };
    telemetry::init("warn")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let address = listener.local_addr()?;
        let server = Server::builder().config(config).build().await?;
        println!("{LISTENING}{address}");
        std::io::stdout().flush()?;
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("input".into()).spawn(move || {
            // Whatever comes, and an error too, means the end of input.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = ended.send(());
        })?;
        server.serve(listener, async { end.await.unwrap_or(()) }).await;
        Ok(())
    })
}

/// A token for a device, signed with the key in the server's data folder.
pub fn token(data: &Path, device: DeviceId) -> Result<String, Box<dyn Error>> {
    let tokens = Tokens::new(Keys::open(data)?.signing, &Config::default().token);
    Ok(tokens.issue(&Caller { user: USER.into(), device }, TOKEN_LIFETIME)?)
}
