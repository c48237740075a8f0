//! The worker's side: a process of its own, so that what a document does to automerge is done to nobody else. It has a limit
//! of memory, gives way to others, and may be killed at any moment.

use std::io::{self, BufReader, BufWriter, Read, Write};

use sync_core::document;

use super::frames::{self, HEADER, Job, Task};

/// Folds what it is told over standard input, until that ends.
pub fn work(memory_bytes: u64) -> io::Result<()> {
    limit(memory_bytes)?;
    // What breaks automerge is told in the answer; its words may quote a document.
    std::panic::set_hook(Box::new(|_| {}));
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    while let Some(job) = read(&mut input)? {
        let answer = match job.task {
            Task::Fold => {
                let folded = document::fold(job.snapshot.as_deref(), &job.changes);
                drop(job);
                frames::answer(&folded)
            }
            task => frames::pieces(task, &job.snapshot.unwrap_or_default()),
        };
        for frame in answer {
            output.write_all(&frame)?;
        }
        output.flush()?;
    }
    Ok(())
}

fn read(input: &mut impl Read) -> io::Result<Option<Job>> {
    let mut job = Job::default();
    let (mut header, mut begun, mut bytes) = ([0; HEADER], false, Vec::new());
    loop {
        match input.read_exact(&mut header) {
            Ok(()) => {}
            // Between two jobs the server may leave.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !begun => return Ok(None),
            Err(error) => return Err(error),
        }
        begun = true;
        let (kind, length) = frames::header(header)?;
        bytes.resize(length, 0);
        input.read_exact(&mut bytes)?;
        if job.take(kind, &bytes)? {
            return Ok(Some(job));
        }
    }
}

/// Who allocates more is aborted.
#[cfg(unix)]
fn limit(memory_bytes: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    let limit = Rlimit { current: Some(memory_bytes), maximum: Some(memory_bytes) };
    setrlimit(Resource::Data, limit)?;
    // Requests come first.
    nice(10)?;
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps)]
fn limit(_memory_bytes: u64) -> io::Result<()> {
    Ok(())
}
