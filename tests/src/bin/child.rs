//! The process that tests start in order to kill or measure it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use sync_client_ffi::account::{Credentials, CredentialsFile, Held, Keychain, KeychainError, Refresher};
use sync_client_ffi::{Client, DeviceId, Value, path};
use sync_server::compaction::Workshop;
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
        ["compaction-worker", memory] => {
            sync_server::compaction::work(memory.parse().expect("bytes")).expect("a worker");
        }
        ["write", store] => write(Path::new(store)),
        ["read", store] => read(Path::new(store)),
        ["sync", store, url, token] => sync(Path::new(store), url, token),
        ["epoch", store, url, token] => epoch(Path::new(store), url, token),
        ["renew", file, step] => renew(Path::new(file), step),
        other => panic!("not known: {other:?}"),
    }
}

fn serve(config: Config, port: &str) {
    let port = port.parse().expect("a port");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async move {
        let arguments = vec!["compaction-worker".to_owned(), config.compaction.worker_memory_bytes.to_string()];
        let workshop = Workshop::Program { program: std::env::current_exe().expect("this program"), arguments };
        let server = Server::builder().workshop(workshop).config(config).build().await.expect("a server");
        // After a SIGKILL the port may still be in the kernel's hands for a moment; tokio sets SO_REUSEADDR.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port");
        println!("{}", listener.local_addr().expect("an address"));
        std::io::stdout().flush().expect("somebody reads");
        server.serve(listener, std::future::pending()).await;
    });
}

/// The app: edits the first document of a store, and says after each edit how many there are, until it is killed.
fn write(store: &Path) {
    let app =
        Client::builder(store).identity("ann", DeviceId::from_random([1; 16])).open().expect("the writer's store");
    let space = app.personal_space();
    let doc = match app.documents(space, None).expect("documents").first() {
        Some(info) => app.open_doc(space, info.id).expect("a document"),
        None => app.create(space, "notes").expect("a document"),
    };
    if doc.get("count").expect("a count").is_none() {
        doc.edit(|edit| {
            edit.put("count", Value::Counter(0)).put("text", Value::Text(String::new()));
        })
        .expect("an edit");
    }
    loop {
        // Two places in one edit: whoever sees the one and not the other has read half of it.
        let edit = doc.edit(|edit| {
            edit.increment("count", 1).splice("text", 0, 0, "x");
        });
        let edit = edit.expect("an edit");
        if edit % 7 == 0 {
            doc.seal().expect("a change");
        }
        println!("{}", edit - 1);
    }
}

/// The widget: says at each line that it is given what the first document holds, and `changed` when it hears of a change.
fn read(store: &Path) {
    let widget = Client::builder(store).read_only().open().expect("the reader's store");
    let space = widget.personal_space();
    let id = widget.documents(space, None).expect("documents")[0].id;
    let doc = widget.open_doc(space, id).expect("a document");
    let observed = doc.observe(|_| println!("changed"));
    println!("ready");
    for line in std::io::stdin().lines() {
        line.expect("a line");
        let Ok(Some(Value::Map(fields))) = doc.get(path![]) else { panic!("no document") };
        let (Value::Counter(count), Value::Text(text)) = (&fields["count"], &fields["text"]) else {
            panic!("{fields:?}")
        };
        assert_eq!(text.len() as i64, *count, "half of an edit");
        println!("{count}");
    }
    drop(observed);
}

/// One exchange with a server.
fn sync(store: &Path, url: &str, token: &str) {
    let app = Client::builder(store).server(url).token(token).open().expect("a store");
    println!("begun");
    app.sync_once(sync_tests::rig::PATIENCE).expect("an exchange");
}

/// Has the first document of a store begin anew.
fn epoch(store: &Path, url: &str, token: &str) {
    let app = Client::builder(store).server(url).token(token).open().expect("a store");
    let space = app.personal_space();
    let id = app.documents(space, None).expect("documents")[0].id;
    let doc = app.open_doc(space, id).expect("a document");
    println!("begun");
    doc.start_epoch().expect("an epoch");
    app.sync_once(sync_tests::rig::PATIENCE).expect("an exchange");
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
