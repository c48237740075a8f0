//! A server of accounts that is none of ours: it answers plain requests as a test has it answer, or loses the answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::wire::{self, ErrorCode, ErrorResponse};

use crate::seen::Seen;

mod rules;

pub use rules::{Presented, Rules};

/// A request, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its path, as it is escaped.
    pub path: String,
    /// The bearer token.
    pub token: Option<String>,
    /// The idempotency key.
    pub key: Option<String>,
    /// What the body is.
    pub kind: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// A field of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(&self.body);
        fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
    }

    /// The frame that the body is.
    pub fn frame<T: DeserializeOwned>(&self) -> T {
        wire::decode(&self.body).expect("a frame")
    }

    /// Method and path.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What is answered.
pub enum Answers {
    /// These bytes of this kind, with this status and these further header lines.
    With(u16, &'static str, Vec<u8>, String),
    /// Nothing: the connection breaks.
    Silence,
}

impl Answers {
    /// A frame.
    pub fn frame<T: Serialize>(status: u16, frame: &T) -> Self {
        Self::With(status, "application/msgpack", wire::encode(frame).expect("a frame"), String::new())
    }

    /// The same in JSON.
    pub fn json<T: Serialize>(status: u16, frame: &T) -> Self {
        Self::With(status, "application/json", wire::encode_json(frame).expect("JSON"), String::new())
    }

    /// Success without a word.
    pub fn nothing() -> Self {
        Self::With(204, "application/msgpack", Vec::new(), String::new())
    }

    /// A refusal in our server's words.
    pub fn refusal(status: u16, code: ErrorCode) -> Self {
        Self::frame(status, &refusal(code))
    }

    /// A page of somebody between: a proxy, a captive portal.
    pub fn page(status: u16) -> Self {
        Self::With(status, "text/html", b"<html>Please accept our terms</html>".to_vec(), String::new())
    }
}

/// What our server says when it refuses.
pub fn refusal(code: ErrorCode) -> ErrorResponse {
    ErrorResponse {
        code,
        message: "`x` must be y.".into(),
        request_id: "r-1".into(),
        retry_after_ms: None,
        update_url: None,
    }
}

type Script = dyn Fn(&Asked) -> Answers + Send + Sync;

/// Such a server, until it is dropped.
pub struct Desk {
    address: SocketAddr,
    /// Requests, in the order in which they came.
    pub asked: Seen<Asked>,
    stopped: Arc<AtomicBool>,
    panicked: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Desk {
    /// Starts one that answers by a script, which may take its time: each request has a thread of its own.
    pub fn start(script: impl Fn(&Asked) -> Answers + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (asked, stopped, panicked) = (Seen::default(), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (seen, stopping, failed) = (asked.clone(), stopped.clone(), panicked.clone());
        let script: Arc<Script> = Arc::new(script);
        let thread = std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, failed, script) = (seen.clone(), failed.clone(), script.clone());
                std::thread::spawn(move || {
                    // Clients that are killed break the connection; what a script asserts is another matter.
                    if catch_unwind(AssertUnwindSafe(|| answer(client, &seen, &*script))).is_err() {
                        failed.store(true, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { address, asked, stopped, panicked, thread: Some(thread) }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn all(&self) -> Vec<Asked> {
        self.asked.wait(|asked| Some(asked.iter().map(|(_, asked)| asked.clone()).collect()))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes whoever waits for the next client.
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            let fine = thread.join().is_ok() && !self.panicked.load(Ordering::SeqCst);
            assert!(fine || std::thread::panicking(), "the desk panicked");
        }
    }
}

fn answer(client: TcpStream, seen: &Seen<Asked>, script: &Script) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut asked = Asked::default();
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    (asked.method, asked.path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or_default(),
            "content-type" => value.clone_into(&mut asked.kind),
            "authorization" => asked.token = value.strip_prefix("Bearer ").map(str::to_owned),
            "idempotency-key" => asked.key = Some(value.to_owned()),
            _ => {}
        }
    }
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body)?;
    seen.see(asked.clone());
    let Answers::With(status, kind, body, headers) = script(&asked) else { return Ok(()) };
    let head = format!(
        "HTTP/1.1 {status} So\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n",
        body.len()
    );
    let mut client = client;
    client.write_all(head.as_bytes())?;
    client.write_all(&body)
}
