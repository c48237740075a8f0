//! The server as a process of its own: where it listens, and all that it logged.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::binary::binary;

/// A server that is stopped when it is dropped.
pub struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    pub url: String,
}

impl Process {
    /// Serves on a free port.
    pub fn serve(data: &Path, arguments: &[&str]) -> Self {
        let mut serve = binary(data, &[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // All the time, so that a full pipe never holds the server up.
        let mut errors = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            errors.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, stdout, stderr: Some(stderr), url: String::new() };
        let line = process.line();
        line.strip_prefix("listening on ").unwrap().clone_into(&mut process.url);
        process
    }

    /// The next line on standard output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Stops it in good order, and gives all that it wrote to standard error.
    pub fn stop(mut self) -> String {
        let terminated = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(terminated.success());
        let stderr = self.stderr.take().unwrap().join().unwrap();
        assert!(self.child.wait().unwrap().success(), "{stderr}");
        stderr
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whoever stopped it has waited for it already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was logged, line by line.
pub fn lines(stderr: &str) -> Vec<Value> {
    stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// An access token of that user, from the command.
pub fn token(data: &Path, user: &str) -> String {
    let output = binary(data, &["token", "--user", user, "--device", "new", "--ttl", "15m"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
