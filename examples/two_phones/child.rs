//! A process of the play, which the director may kill.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};

/// Who a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A node of the server, by its number.
    Node(usize),
    /// A phone, by its number.
    Phone(usize),
}

/// What comes from a process.
#[derive(Debug)]
pub enum Event {
    /// A line of its standard output.
    Line {
        /// Whose.
        who: Who,
        /// Which life of it, from 0.
        life: u32,
        /// Without the line's end.
        line: String,
    },
    /// Its standard output has ended.
    Gone {
        /// Whose.
        who: Who,
        /// Which life of it.
        life: u32,
    },
}

/// Bytes of a process's last words that are shown when it fails.
const LAST_WORDS_BYTES: usize = 2_000;

/// A process; it is killed when this is dropped.
#[derive(Debug)]
pub struct Child {
    process: Process,
    input: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
    log: PathBuf,
}

impl Child {
    /// Starts this program again with other arguments. Its complaints go to `log`, in the folder.
    pub fn start(
        who: Who,
        life: u32,
        folder: &Path,
        arguments: &[&str],
        events: SyncSender<Event>,
    ) -> io::Result<Self> {
        let log = folder.join("log");
        let errors: File = OpenOptions::new().create(true).append(true).open(&log)?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or_else(|| io::Error::other("the child has no standard output"))?;
        let reader = thread::Builder::new().name("reader".into()).spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = String::new();
            // A line that a kill cut short is no line.
            while output.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
                let text = line.trim_end().to_owned();
                line.clear();
                if events.send(Event::Line { who, life, line: text }).is_err() {
                    return;
                }
            }
            // Nobody listens any more when the director is gone itself.
            let _ = events.send(Event::Gone { who, life });
        })?;
        Ok(Self { process, input, reader: Some(reader), log })
    }

    /// Writes a line to its standard input.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(line.as_bytes())?;
        input.write_all(b"\n")?;
        input.flush()
    }

    /// SIGKILL: no handler runs, nothing is flushed. What it had written before still comes as events.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// The end of what it complained about.
    pub fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LAST_WORDS_BYTES)..]).into_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
        drop(self.reader.take());
    }
}
