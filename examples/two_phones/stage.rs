//! The processes of the play and the networks between them.

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use sync_client_ffi::{DeviceId, DocId};
use sync_examples::proxy::{Proxy, Traffic};

use crate::child::{Child, Event, Who};
use crate::line::{CANONICAL_FILE, JOB_FILE, Job, Order, Report};
use crate::node::{self, Backends, LISTENING};
use crate::random::Random;
use crate::script::Source;
use crate::seen::Times;

/// Events that wait for the director; more make the processes wait.
const EVENTS_MAX: usize = 4_096;
/// A node that does not listen after so long has failed.
const NODE_START_MAX: Duration = Duration::from_secs(30);

/// A process that ended, or said something that is no report.
type Failure = Box<dyn Error>;

/// A node of the server, as the director sees it.
struct Node {
    child: Option<Child>,
    life: u32,
    /// Port 0 takes a free one; from the second start on it is the first one's.
    address: SocketAddr,
    folder: PathBuf,
}

/// A phone, as the director sees it.
struct Phone {
    child: Child,
    life: u32,
    proxy: Proxy,
    device: DeviceId,
    folder: PathBuf,
    is_cut: bool,
}

/// All processes and networks. They end when this is dropped.
pub struct Stage {
    folder: PathBuf,
    arguments: Vec<String>,
    nodes: Vec<Node>,
    user: String,
    phones: Vec<Phone>,
    devices: Vec<DeviceId>,
    sender: SyncSender<Event>,
    events: Receiver<Event>,
    /// What came while something else was waited for.
    backlog: VecDeque<Event>,
}

impl Stage {
    /// Starts the nodes. Devices are drawn for so many phones.
    pub fn open(folder: &Path, source: &Source, backends: &Backends, phones: usize) -> Result<Self, Failure> {
        let (sender, events) = sync_channel(EVENTS_MAX);
        let mut random = Random::new(source.seed, u64::MAX - 1);
        let mut arguments = vec!["--seed".to_owned(), source.seed.to_string()];
        if let Some(trace) = &source.trace {
            arguments.extend(["--trace".to_owned(), trace.display().to_string()]);
        }
        if source.short {
            arguments.push("--short".to_owned());
        }
        if let Some(rate) = source.rate {
            arguments.extend(["--rate".to_owned(), rate.to_string()]);
        }
        let node = |folder| Node { child: None, life: 0, address: SocketAddr::from(([127, 0, 0, 1], 0)), folder };
        let mut stage = Self {
            folder: folder.to_owned(),
            arguments,
            nodes: backends.prepare(folder)?.into_iter().map(node).collect(),
            user: backends.user()?,
            phones: Vec::new(),
            devices: (0..phones).map(|_| DeviceId::from_random(random.bytes())).collect(),
            sender,
            events,
            backlog: VecDeque::new(),
        };
        for node in 0..stage.nodes() {
            stage.start_node(node)?;
        }
        Ok(stage)
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn start_node(&mut self, node: usize) -> Result<(), Failure> {
        let who = Who::Node(node);
        let Node { child, life, address, folder } = &mut self.nodes[node];
        let (data, port) = (folder.display().to_string(), address.port().to_string());
        let life_now = *life;
        *child = Some(Child::start(who, life_now, folder, &["node", &data, &port], self.sender.clone())?);
        loop {
            let event = self.events.recv_timeout(NODE_START_MAX).map_err(|_| "a node did not start")?;
            match event {
                Event::Line { who: of, life, line } if of == who && life == life_now => {
                    let address = line.strip_prefix(LISTENING).ok_or("a node did not say where it listens")?;
                    self.nodes[node].address = address.parse()?;
                    return Ok(());
                }
                Event::Gone { who: of, life } if of == who && life == life_now => {
                    return Err(self.failed(who));
                }
                other => self.backlog.push_back(other),
            }
        }
    }

    /// Kills a node, and starts it again on what it had on disk.
    pub fn kill_node(&mut self, node: usize) -> Result<(), Failure> {
        let killed = &mut self.nodes[node];
        if let Some(child) = &mut killed.child {
            child.kill()?;
        }
        killed.life += 1;
        self.start_node(node)
    }

    /// Adds the next phone, with a network of its own, to the next node. `doc` is `None` for the one that prepares the document.
    pub fn add_phone(&mut self, doc: Option<(DocId, u64)>, reads: bool) -> Result<(), Failure> {
        let phone = self.phones.len();
        let device = *self.devices.get(phone).ok_or("there are more phones than devices")?;
        let folder = self.folder.join(format!("phone-{}", name(phone).to_lowercase()));
        std::fs::create_dir_all(&folder)?;
        let node = &self.nodes[phone % self.nodes.len()];
        let proxy = Proxy::start(node.address)?;
        let job = Job {
            phone,
            server: format!("http://{}", proxy.address()),
            token: node::token(&node.folder, &self.user, device)?,
            devices: self.devices.clone(),
            doc,
            reads,
        };
        std::fs::write(folder.join(JOB_FILE), serde_json::to_vec(&job)?)?;
        let child = self.start_phone(phone, 0, &folder)?;
        self.phones.push(Phone { child, life: 0, proxy, device, folder, is_cut: false });
        Ok(())
    }

    fn start_phone(&self, phone: usize, life: u32, folder: &Path) -> Result<Child, Failure> {
        let path = folder.display().to_string();
        let mut arguments = vec!["phone", path.as_str()];
        arguments.extend(self.arguments.iter().map(String::as_str));
        Ok(Child::start(Who::Phone(phone), life, folder, &arguments, self.sender.clone())?)
    }

    /// Kills a phone, and starts it again on what it had on disk.
    pub fn kill_phone(&mut self, phone: usize) -> Result<(), Failure> {
        self.phones[phone].child.kill()?;
        let life = self.phones[phone].life + 1;
        let child = self.start_phone(phone, life, &self.phones[phone].folder)?;
        self.phones[phone].child = child;
        self.phones[phone].life = life;
        Ok(())
    }

    /// Cuts a phone's network.
    pub fn cut(&mut self, phone: usize) {
        self.phones[phone].proxy.cut();
        self.phones[phone].is_cut = true;
    }

    /// Restores it.
    pub fn restore(&mut self, phone: usize) {
        self.phones[phone].proxy.restore();
        self.phones[phone].is_cut = false;
    }

    /// Whether a phone is without network.
    pub fn is_cut(&self, phone: usize) -> bool {
        self.phones[phone].is_cut
    }

    /// What went over a phone's network.
    pub fn traffic(&self, phone: usize) -> Traffic {
        self.phones[phone].proxy.traffic()
    }

    /// A replica's canonical bytes, which it wrote down when it was asked to prove what it holds.
    pub fn canonical(&self, phone: usize) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.phones[phone].folder.join(CANONICAL_FILE))
    }

    /// What a phone wrote down of when things happened.
    pub fn times(&self, phone: usize) -> std::io::Result<Times> {
        Times::read(&self.phones[phone].folder)
    }

    /// Gives an order. A phone that has ended says so by an event, so that a failure here needs no other.
    pub fn send(&mut self, phone: usize, order: &Order) -> Result<(), Failure> {
        let line = serde_json::to_string(order)?;
        let _ = self.phones[phone].child.send(&line);
        Ok(())
    }

    /// The next report, if one comes in time: which phone's, whether of its present life, and what.
    pub fn report(&mut self, longest: Duration) -> Result<Option<(usize, bool, Report)>, Failure> {
        loop {
            let event = match self.backlog.pop_front() {
                Some(event) => event,
                None => match self.events.recv_timeout(longest) {
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout) => return Ok(None),
                    Err(RecvTimeoutError::Disconnected) => return Err("nobody reports any more".into()),
                },
            };
            match event {
                Event::Line { who: Who::Phone(phone), life, line } => {
                    let report = serde_json::from_str(&line)?;
                    return Ok(Some((phone, life == self.phones[phone].life, report)));
                }
                Event::Gone { who: Who::Phone(phone), life } if life == self.phones[phone].life => {
                    return Err(self.failed(Who::Phone(phone)));
                }
                Event::Gone { who: Who::Node(node), life } if life == self.nodes[node].life => {
                    return Err(self.failed(Who::Node(node)));
                }
                // The end of a life that the director ended itself.
                Event::Gone { .. } | Event::Line { .. } => {}
            }
        }
    }

    fn failed(&self, who: Who) -> Failure {
        let (called, words) = match who {
            Who::Node(node) => {
                let child = self.nodes[node].child.as_ref();
                (node_name(node, self.nodes.len()), child.map(Child::last_words))
            }
            Who::Phone(phone) => {
                let Phone { child, device, .. } = &self.phones[phone];
                (format!("phone {} ({device})", name(phone)), Some(child.last_words()))
            }
        };
        format!("{called} ended by itself:\n{}", words.unwrap_or_default()).into()
    }
}

/// A node's name, for people; one that is alone is the server.
pub fn node_name(node: usize, of: usize) -> String {
    if of == 1 { "the server".into() } else { format!("node {}", node + 1) }
}

/// A phone's name, for people.
pub fn name(phone: usize) -> String {
    char::from_u32('A' as u32 + phone as u32).unwrap_or('?').to_string()
}
