//! The processes of a measurement: an engine's server, whose costs the operating system tells, and its driver, which is its
//! own client and does what it is told in lines of JSON.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::live::server::cpu_seconds;

/// A server that was asked to stop and has not after so long is killed.
const STOPPING_MAX: Duration = Duration::from_secs(30);
/// Between two looks at whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// Lines that a server says before it tells its address.
const LINES_MAX: usize = 100;

/// How to start a program: itself, then its arguments.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<String>,
    /// What it is asked to stop with.
    pub stop_signal: &'static str,
}

impl Program {
    pub fn new(path: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { path: path.into(), arguments, stop_signal: "TERM" }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stderr(Stdio::inherit());
        command
    }
}

/// A server with its data in a folder.
pub struct Host {
    program: Program,
    data: PathBuf,
    child: Child,
    address: SocketAddr,
}

impl Host {
    /// Starts it on the folder; `{data}` and `{port}` in the arguments stand for the folder and the port.
    pub fn start(program: &Program, data: &Path, port: u16) -> Self {
        let mut filled = program.clone();
        for argument in &mut filled.arguments {
            *argument = argument.replace("{data}", &data.to_string_lossy()).replace("{port}", &port.to_string());
        }
        let mut command = filled.command();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a server");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let address = (0..LINES_MAX).find_map(|_| {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            address_in(&line)
        });
        let address = address.expect("a server tells its address");
        // Its output is read to the end: who logs into a full pipe stands still.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { program: program.clone(), data: data.to_owned(), child, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// Asks it to stop, so that it can store what it holds.
    pub fn stop(&mut self) {
        let signal = format!("-{}", self.program.stop_signal);
        let asked = Command::new("kill").args([signal, self.child.id().to_string()]).status();
        assert!(asked.is_ok_and(|status| status.success()), "the server is there to be stopped");
        let until = Instant::now() + STOPPING_MAX;
        while Instant::now() < until {
            if self.child.try_wait().expect("its state").is_some() {
                return;
            }
            std::thread::sleep(LOOK);
        }
        self.kill();
    }

    /// Starts it again on the same data.
    pub fn again(self) -> Self {
        Self::start(&self.program, &self.data, 0)
    }

    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.child.id().to_string())
    }

    pub fn memory_kib(&self) -> f64 {
        self.status("VmRSS:")
    }

    pub fn peak_memory_kib(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may be dead already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The first thing in a line that is an address with a port.
fn address_in(line: &str) -> Option<SocketAddr> {
    line.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        .find_map(|word| word.trim_matches(':').parse().ok())
}

/// A client's process.
pub struct Driver {
    child: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Driver {
    pub fn start(program: &Program) -> Self {
        let mut command = program.command();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a driver");
        let told = child.stdin.take().expect("its input");
        let says = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, told, says }
    }

    /// Has a step done. At each mark the driver waits until `at_mark` has returned.
    pub fn run(&mut self, step: &Value, mut at_mark: impl FnMut(&str)) -> Result<Value, String> {
        self.tell(step)?;
        loop {
            let mut line = String::new();
            if self.says.read_line(&mut line).map_err(|error| error.to_string())? == 0 {
                return Err("the driver died".into());
            }
            // Engines print what they like.
            let Ok(mut said) = serde_json::from_str::<Value>(&line) else {
                eprint!("  driver: {line}");
                continue;
            };
            if let Some(mark) = said["mark"].as_str() {
                at_mark(mark);
                self.tell(&json!({}))?;
            } else if let Some(error) = said["error"].as_str() {
                return Err(error.to_owned());
            } else if said.get("result").is_some() {
                return Ok(said["result"].take());
            }
        }
    }

    fn tell(&mut self, what: &Value) -> Result<(), String> {
        writeln!(self.told, "{what}").and_then(|()| self.told.flush()).map_err(|error| error.to_string())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
