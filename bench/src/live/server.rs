//! The server under measurement, as a process of its own, so that its memory and its processor time are its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sync_core::id::DeviceId;

/// Linux counts processor time for `/proc` in hundredths of a second, whatever its clock.
const TICKS_PER_SECOND: f64 = 100.0;
/// And the memory of sockets in pages.
const PAGE_KIB: f64 = 4.0;

pub struct Server {
    folder: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
}

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["serve".as_ref(), folder.path().as_os_str(), "0".as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server's process");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its address");
        let address = line.trim().parse().expect("an address");
        Self { folder, child, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    pub fn token(&self, user: &str, device: DeviceId) -> String {
        sync_tests::rig::token(self.folder.path(), user, device)
    }

    /// Its resident memory.
    pub fn memory_kib(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// The most it was since [`reset_peak_memory`](Self::reset_peak_memory).
    pub fn peak_memory_kib(&self) -> f64 {
        self.status("VmHWM:")
    }

    /// Begins to measure the peak anew.
    pub fn reset_peak_memory(&self) {
        std::fs::write(self.proc("clear_refs"), "5").expect("Linux measures memory");
    }

    /// The processor time of all its threads, in the kernel too.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.child.id().to_string())
    }

    fn status(&self, key: &str) -> f64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

/// The processor time of a process, of all its threads and in the kernel too; `self` is this one.
pub fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux");
    // The program's name, in brackets, may hold anything: count from behind it.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// What the kernel holds for the TCP connections of this machine, in KiB: what was written to them and is not read.
pub fn sockets_kib() -> f64 {
    let stat = std::fs::read_to_string("/proc/net/sockstat").expect("Linux");
    let pages = stat.lines().find(|line| line.starts_with("TCP:")).and_then(|line| line.split(" mem ").nth(1));
    pages.expect("a line").trim().parse::<f64>().expect("a number") * PAGE_KIB
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
