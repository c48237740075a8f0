//! Our driver: the client library against a server somewhere, told what to do in the same lines of JSON as the others' drivers.

mod cold;
mod fan_out;
mod idle;
mod kill;
mod long;
mod offline;
mod propagate;

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sync_client_ffi::{Client, Doc};
use sync_examples::proxy::Proxy;

use crate::live::throughput::device;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(5);

const MEMORY_DISK: &str = "/dev/shm";

/// A step's order, and how to tell where it is.
pub struct Order {
    told: Value,
    address: SocketAddr,
    data: PathBuf,
    stores: tempfile::TempDir,
    /// For so many keystrokes that each one's fsync would take longer than all that is measured.
    in_memory: tempfile::TempDir,
}

impl Order {
    fn of(told: Value) -> Self {
        let text = |key: &str| told[key].as_str().unwrap_or_else(|| panic!("the order has {key}"));
        let address = text("server").parse().expect("an address");
        let data = text("data").into();
        let stores = tempfile::tempdir_in(text("folder")).expect("a folder for stores");
        let in_memory = tempfile::tempdir_in(MEMORY_DISK).expect("a folder in memory");
        Self { told, address, data, stores, in_memory }
    }

    fn text(&self, key: &str) -> String {
        self.told[key].as_str().unwrap_or_else(|| panic!("the order has {key}")).to_owned()
    }

    fn number(&self, key: &str) -> u64 {
        self.told[key].as_u64().unwrap_or_else(|| panic!("the order has {key}"))
    }

    fn seconds(&self, key: &str) -> Duration {
        Duration::from_secs_f64(self.told[key].as_f64().unwrap_or_else(|| panic!("the order has {key}")))
    }

    /// A phone of that user, with a store of its own on disk.
    fn phone(&self, user: &str, role: u8) -> Client {
        self.phone_by(self.address, user, role)
    }

    /// The same by another way to the server.
    fn phone_by(&self, address: SocketAddr, user: &str, role: u8) -> Client {
        self.phone_on(self.stores.path(), address, user, role)
    }

    fn phone_on(&self, stores: &Path, address: SocketAddr, user: &str, role: u8) -> Client {
        let device = device(0, role);
        let path = stores.join(format!("{user}-{role}"));
        let client = Client::builder(path).server(format!("http://{address}"));
        client.token(sync_tests::rig::token(&self.data, user, device)).open().expect("a phone")
    }

    /// A way to the server that counts what passes.
    fn counted(&self) -> Proxy {
        Proxy::start(self.address).expect("a proxy")
    }
}

/// Tells that a place was reached, and waits until the harness has looked at the server.
fn mark(name: &str) {
    say(&json!({ "mark": name }));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("the harness answers");
}

/// Works until the harness ends; `wire` speaks the protocol without the library where a step can.
pub fn drive(wire: bool) {
    let mut line = String::new();
    while std::io::stdin().lock().read_line(&mut line).is_ok_and(|read| read > 0) {
        let order = Order::of(serde_json::from_str(&line).expect("an order in JSON"));
        let result = match order.text("step").as_str() {
            "propagate" => propagate::run(&order),
            "fan_out" if wire => fan_out::by_wire(&order),
            "fan_out" => fan_out::run(&order),
            "offline" => offline::run(&order),
            "fill" => cold::fill(&order),
            "cold" => cold::run(&order),
            "idle" => idle::run(&order),
            "load" => kill::load(&order),
            "lengths" => kill::lengths(&order),
            "long" => long::run(&order),
            step => panic!("{step} is no step"),
        };
        say(&json!({ "result": result }));
        line.clear();
    }
}

fn say(what: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}").and_then(|()| out.flush()).expect("the harness listens");
}

/// A document with an empty text, known to the server.
fn text_of(client: &Client) -> Doc {
    let doc = client.create(client.personal_space(), "texts").expect("a document");
    let empty = sync_client_ffi::Value::Text(String::new());
    doc.edit(|edit| _ = edit.put("text", empty)).expect("a text");
    doc
}

fn insert(doc: &Doc, at: u64, what: &str) -> u64 {
    doc.edit(|edit| _ = edit.splice("text", at, 0, what)).expect("an edit")
}

fn length(doc: &Doc) -> u64 {
    doc.length("text").expect("the store").unwrap_or_default()
}

fn acknowledged(client: &Client) {
    assert!(client.wait_acknowledged(client.personal_space(), PATIENCE), "the server has it in time");
}

/// A writer, live, with a text that the server has.
fn live_writer(order: &Order, user: &str) -> (Client, Doc) {
    let client = order.phone(user, 1);
    client.start().expect("a live session");
    let doc = text_of(&client);
    acknowledged(&client);
    (client, doc)
}

/// Somebody else's phone, live, that has what the first one wrote until now.
fn live_reader(order: &Order, user: &str, role: u8, writer: &Client, doc: &Doc) -> (Client, Doc) {
    let client = order.phone(user, role);
    client.start().expect("a live session");
    let same = arrived(&client, writer, doc);
    (client, same)
}

/// The document on another phone, as soon as all that its writer wrote until now is there.
fn arrived(client: &Client, writer: &Client, doc: &Doc) -> Doc {
    let n = writer.feed(doc.space()).expect("the feed").n;
    assert!(client.wait_for(doc.space(), writer.device(), n, PATIENCE), "it arrives");
    client.open_doc(doc.space(), doc.id()).expect("the document")
}
