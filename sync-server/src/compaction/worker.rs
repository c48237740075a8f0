//! The server's side of a worker: it is started when there is work, told one job after the other, and given up when it is
//! late, dies, or has done enough.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use sync_core::document::{self, FoldError, Folded};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::frames::{self, HEADER, Hearing, Job, Piece, Task};

/// Jobs of one process: what automerge leaves behind in the allocator goes with it.
const JOBS_MAX: u32 = 256;

/// Where documents are folded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Workshop {
    /// In this process, on a thread of its own. A panic is caught; memory is not bounded, and what aborts the process does so.
    #[default]
    Here,
    /// In a process of that program, which calls [`work`](super::work): `sync-server compaction-worker` does.
    Program {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// Why a job came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The document cannot be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The worker died: it was killed, or took more memory than it may.
    #[error("the worker died: {0}")]
    Died(io::Error),
    /// It took too long.
    #[error("the worker took too long")]
    Late,
    /// It cannot be started.
    #[error("the worker cannot be started: {0}")]
    Start(io::Error),
}

/// A worker, and where it works.
pub(crate) struct Worker {
    workshop: Workshop,
    deadline: Duration,
    process: Option<Process>,
}

struct Process {
    // Killed when it is dropped.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    jobs: u32,
}

impl Worker {
    pub(crate) fn new(workshop: Workshop, deadline: Duration) -> Self {
        Self { workshop, deadline, process: None }
    }

    /// Folds a document.
    pub(crate) async fn fold(&mut self, job: Arc<Job>) -> Result<Folded, Failure> {
        let Workshop::Program { program, arguments } = &self.workshop else {
            let work = tokio::task::spawn_blocking(move || document::fold(job.snapshot.as_deref(), &job.changes));
            let done = timeout(self.deadline, work).await.map_err(|_| Failure::Late)?;
            return Ok(done.map_err(|error| Failure::Died(io::Error::other(error)))??);
        };
        let mut process = match self.process.take() {
            Some(process) => process,
            None => Process::start(program, arguments).map_err(Failure::Start)?,
        };
        let folded = timeout(self.deadline, process.ask(&job)).await.map_err(|_| Failure::Late)?;
        let folded = folded.map_err(Failure::Died)?;
        // Whoever answers lives, whatever the answer is.
        process.jobs += 1;
        if process.jobs < JOBS_MAX {
            self.process = Some(process);
        }
        Ok(folded?)
    }

    /// What a snapshot shows, as JSON.
    pub(crate) async fn show(&mut self, snapshot: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let mut shown = Vec::new();
        self.pieces(Task::Show, snapshot, &mut |piece| shown.extend(piece)).await?;
        Ok(shown)
    }

    /// Gives the changes that a snapshot holds, each after those that it was made upon.
    pub(crate) async fn unfold(
        &mut self,
        snapshot: Vec<u8>,
        give: &mut (dyn FnMut(Vec<u8>) + Send),
    ) -> Result<(), Failure> {
        self.pieces(Task::Unfold, snapshot, give).await
    }

    async fn pieces(
        &mut self,
        task: Task,
        snapshot: Vec<u8>,
        give: &mut (dyn FnMut(Vec<u8>) + Send),
    ) -> Result<(), Failure> {
        let Workshop::Program { program, arguments } = &self.workshop else {
            let work = tokio::task::spawn_blocking(move || frames::pieces(task, &snapshot));
            let done = timeout(self.deadline, work).await.map_err(|_| Failure::Late)?;
            for mut frame in done.map_err(|error| Failure::Died(io::Error::other(error)))? {
                let (kind, bytes) = (frame[0], frame.split_off(HEADER));
                match frames::piece(task, kind, bytes).map_err(Failure::Died)? {
                    Piece::Bytes(bytes) => give(bytes),
                    Piece::End => return Ok(()),
                    Piece::Failed(error) => return Err(error.into()),
                }
            }
            return Err(Failure::Died(io::Error::other("an answer without an end")));
        };
        let mut process = match self.process.take() {
            Some(process) => process,
            None => Process::start(program, arguments).map_err(Failure::Start)?,
        };
        let job = Job { task, snapshot: Some(snapshot), changes: Vec::new() };
        let told = timeout(self.deadline, process.hear(&job, give)).await.map_err(|_| Failure::Late)?;
        let told = told.map_err(Failure::Died)?;
        process.jobs += 1;
        if process.jobs < JOBS_MAX {
            self.process = Some(process);
        }
        Ok(told?)
    }

    /// Lets the process go, if there is one: nothing is left to do for a while.
    pub(crate) fn rest(&mut self) {
        self.process = None;
    }
}

impl Process {
    fn start(program: &PathBuf, arguments: &[String]) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a process without pipes"));
        };
        Ok(Self { _child: child, input, output: BufReader::new(output), jobs: 0 })
    }

    async fn tell(&mut self, job: &Job) -> io::Result<()> {
        for frame in frames::job(job) {
            self.input.write_all(&frame).await?;
        }
        self.input.flush().await
    }

    async fn hear(&mut self, job: &Job, give: &mut (dyn FnMut(Vec<u8>) + Send)) -> io::Result<Result<(), FoldError>> {
        self.tell(job).await?;
        let mut header = [0; HEADER];
        loop {
            self.output.read_exact(&mut header).await?;
            let (kind, length) = frames::header(header)?;
            let mut bytes = vec![0; length];
            self.output.read_exact(&mut bytes).await?;
            match frames::piece(job.task, kind, bytes)? {
                Piece::Bytes(bytes) => give(bytes),
                Piece::End => return Ok(Ok(())),
                Piece::Failed(error) => return Ok(Err(error)),
            }
        }
    }

    async fn ask(&mut self, job: &Job) -> io::Result<Result<Folded, FoldError>> {
        self.tell(job).await?;
        let (mut hearing, mut header, mut bytes) = (Hearing::default(), [0; HEADER], Vec::new());
        loop {
            self.output.read_exact(&mut header).await?;
            let (kind, length) = frames::header(header)?;
            bytes.resize(length, 0);
            self.output.read_exact(&mut bytes).await?;
            if let Some(answer) = hearing.take(kind, &bytes)? {
                return Ok(answer);
            }
        }
    }
}
