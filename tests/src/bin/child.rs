//! The process that tests start in order to kill or measure it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use sync_client_ffi::account::{Credentials, CredentialsFile, Held, Keychain, KeychainError, Refresher};
use sync_server::{Config, Server};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", data, port] => serve(Config { data: PathBuf::from(data), ..Config::default() }, port),
        ["serve", data, port, config] => {
            let config = Config::read(Path::new(config)).expect("a configuration");
            serve(Config { data: PathBuf::from(data), ..config }, port);
        }
        ["renew", file, step] => renew(Path::new(file), step),
        other => panic!("not known: {other:?}"),
    }
}

fn serve(config: Config, port: &str) {
    let port = port.parse().expect("a port");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async move {
        let server = Server::builder().config(config).build().await.expect("a server");
        // After a SIGKILL the port may still be in the kernel's hands for a moment; tokio sets SO_REUSEADDR.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port");
        println!("{}", listener.local_addr().expect("an address"));
        std::io::stdout().flush().expect("somebody reads");
        server.serve(listener, std::future::pending()).await;
    });
}

/// Renews a device's tokens, and dies at a step of it.
fn renew(file: &Path, step: &str) {
    let keychain = Dying { file: CredentialsFile::new(file), step: step.to_owned() };
    let refresher = Refresher::open(keychain).expect("credentials");
    let token = refresher.token().expect("a token");
    println!("{}", token.0);
    std::process::abort();
}

/// A keychain at which the process dies.
struct Dying {
    file: CredentialsFile,
    step: String,
}

impl Keychain for Dying {
    fn load(&self) -> Result<Option<Credentials>, KeychainError> {
        self.file.load()
    }

    fn save(&self, credentials: &Credentials) -> Result<(), KeychainError> {
        if self.step == "answered" {
            std::process::abort();
        }
        self.file.save(credentials)?;
        if self.step == "saved" {
            std::process::abort();
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), KeychainError> {
        self.file.clear()
    }

    fn hold(&self) -> Result<Held, KeychainError> {
        self.file.hold()
    }
}
