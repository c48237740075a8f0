//! What the server and a worker say to each other over the worker's standard input and output: a kind, a length, that many
//! bytes. A job is a snapshot piece by piece, changes one by one, and an end; the answer is heads, a new snapshot piece by
//! piece, and an end; or why there is none. A job may ask for something else than a fold of the snapshot in it: what it shows,
//! answered piece by piece, or the changes that it holds, one by one.

use std::io;

use sync_core::document::{self, FoldError, Folded};
use sync_core::id::Hash;
use sync_core::limits::{CHANGE_BYTES_MAX, FOLD_BYTES_MAX, FOLD_CHANGES_MAX, SNAPSHOT_BYTES_MAX};

/// One frame: a change, or a piece of a snapshot that is no longer.
pub(super) const FRAME_BYTES_MAX: usize = CHANGE_BYTES_MAX;
/// Kind and length.
pub(super) const HEADER: usize = 5;

const SNAPSHOT: u8 = 1;
const CHANGE: u8 = 2;
const END: u8 = 3;
const HEADS: u8 = 4;
const FAILED: u8 = 5;
const TASK: u8 = 6;
const SHOWN: u8 = 7;

/// What a document shows in JSON is a few times as long as its snapshot; no more of it is written down.
const SHOWN_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX;

/// What is to be done with a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Task {
    /// A new snapshot.
    #[default]
    Fold = 0,
    /// What the snapshot shows, as JSON.
    Show = 1,
    /// The changes that the snapshot holds, each after those that it was made upon.
    Unfold = 2,
}

/// What is to be folded.
#[derive(Debug, Default)]
pub(crate) struct Job {
    pub(crate) task: Task,
    pub(crate) snapshot: Option<Vec<u8>>,
    pub(crate) changes: Vec<Vec<u8>>,
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a frame of a worker")
}

fn frame(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Kind and length of the frame that follows.
pub(super) fn header(header: [u8; HEADER]) -> io::Result<(u8, usize)> {
    let [kind, length @ ..] = header;
    let length = u32::from_le_bytes(length) as usize;
    if length <= FRAME_BYTES_MAX { Ok((kind, length)) } else { Err(malformed()) }
}

/// The frames of a job.
pub(super) fn job(job: &Job) -> impl Iterator<Item = Vec<u8>> {
    let one = |kind, bytes: &[u8]| {
        let mut out = Vec::with_capacity(HEADER + bytes.len());
        frame(&mut out, kind, bytes);
        out
    };
    let pieces = job.snapshot.iter().flat_map(|bytes| bytes.chunks(FRAME_BYTES_MAX));
    let pieces = pieces.map(move |piece| one(SNAPSHOT, piece));
    let changes = job.changes.iter().map(move |change| one(CHANGE, change));
    let task = (job.task != Task::Fold).then(|| one(TASK, &[job.task as u8]));
    task.into_iter().chain(pieces).chain(changes).chain(std::iter::once_with(move || one(END, &[])))
}

impl Job {
    /// Takes a frame in; `true` where it was the last.
    pub(super) fn take(&mut self, kind: u8, bytes: &[u8]) -> io::Result<bool> {
        match kind {
            SNAPSHOT => {
                let snapshot = self.snapshot.get_or_insert_default();
                if snapshot.len() + bytes.len() > SNAPSHOT_BYTES_MAX {
                    return Err(malformed());
                }
                snapshot.extend_from_slice(bytes);
            }
            CHANGE => {
                let all: usize = self.changes.iter().map(Vec::len).sum();
                let fits = self.changes.is_empty() || all + bytes.len() <= FOLD_BYTES_MAX;
                if self.changes.len() >= FOLD_CHANGES_MAX || !fits {
                    return Err(malformed());
                }
                self.changes.push(bytes.to_vec());
            }
            TASK => {
                self.task = match bytes {
                    [1] => Task::Show,
                    [2] => Task::Unfold,
                    _ => return Err(malformed()),
                }
            }
            END => return Ok(true),
            _ => return Err(malformed()),
        }
        Ok(false)
    }
}

/// The frames of an answer.
pub(super) fn answer(result: &Result<Folded, FoldError>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut say = |kind, bytes: &[u8]| {
        let mut out = Vec::with_capacity(HEADER + bytes.len());
        frame(&mut out, kind, bytes);
        frames.push(out);
    };
    match result {
        Ok(folded) => {
            let heads: Vec<u8> = folded.heads.iter().flat_map(|head| head.0).collect();
            say(HEADS, &heads);
            for piece in folded.bytes.chunks(FRAME_BYTES_MAX) {
                say(SNAPSHOT, piece);
            }
            say(END, &[]);
        }
        Err(error) => {
            let (number, hash) = match error {
                FoldError::Snapshot => (1, None),
                FoldError::Change(hash) => (2, Some(hash)),
                FoldError::ReadBack => (3, None),
                FoldError::TooLarge => (4, None),
                FoldError::Unreadable(hash) => (5, Some(hash)),
            };
            let mut said = vec![number];
            said.extend(hash.into_iter().flat_map(|hash| hash.0));
            say(FAILED, &said);
        }
    }
    frames
}

/// The frames of an answer to who asked for what a snapshot shows, or for its changes.
pub(super) fn pieces(task: Task, snapshot: &[u8]) -> Vec<Vec<u8>> {
    let (mut frames, mut whole) = (Vec::new(), false);
    let mut say = |kind, bytes: &[u8]| {
        let mut out = Vec::with_capacity(HEADER + bytes.len());
        frame(&mut out, kind, bytes);
        frames.push(out);
    };
    if task == Task::Show {
        if let Some(json) = document::snapshot_json(snapshot).filter(|json| json.len() <= SHOWN_BYTES_MAX) {
            json.as_bytes().chunks(FRAME_BYTES_MAX).for_each(|piece| say(SHOWN, piece));
            whole = true;
        }
    } else if let Some(changes) = document::changes_beyond(snapshot, &[]) {
        // One that is longer is none that was ever taken.
        whole = changes.iter().all(|(_, bytes)| bytes.len() <= FRAME_BYTES_MAX);
        if whole {
            for (_, bytes) in &changes {
                say(CHANGE, bytes);
            }
        }
    }
    if whole {
        say(END, &[]);
    } else {
        say(FAILED, &[1]);
    }
    frames
}

/// What is heard next of an answer of [`pieces`].
pub(super) enum Piece {
    /// A part of what a snapshot shows, or a change.
    Bytes(Vec<u8>),
    /// That was all.
    End,
    /// There is none.
    Failed(FoldError),
}

/// Reads a frame of such an answer.
pub(super) fn piece(task: Task, kind: u8, bytes: Vec<u8>) -> io::Result<Piece> {
    match (task, kind) {
        (Task::Show, SHOWN) | (Task::Unfold, CHANGE) => Ok(Piece::Bytes(bytes)),
        (_, END) => Ok(Piece::End),
        (_, FAILED) => failed(&bytes).map(Piece::Failed),
        _ => Err(malformed()),
    }
}

/// An answer as it comes in.
#[derive(Default)]
pub(super) struct Hearing {
    heads: Option<Vec<Hash>>,
    bytes: Vec<u8>,
}

impl Hearing {
    /// Takes a frame in; gives the answer where it was the last.
    pub(super) fn take(&mut self, kind: u8, bytes: &[u8]) -> io::Result<Option<Result<Folded, FoldError>>> {
        match (kind, &self.heads) {
            (HEADS, None) => {
                let heads: Result<Vec<Hash>, _> = bytes.chunks(32).map(Hash::from_slice).collect();
                self.heads = Some(heads.map_err(|_| malformed())?);
            }
            (SNAPSHOT, Some(_)) if self.bytes.len() + bytes.len() <= SNAPSHOT_BYTES_MAX => {
                self.bytes.extend_from_slice(bytes);
            }
            (END, Some(heads)) => {
                let (heads, bytes) = (heads.clone(), std::mem::take(&mut self.bytes));
                return Ok(Some(Ok(Folded { bytes, heads })));
            }
            (FAILED, None) => return failed(bytes).map(|error| Some(Err(error))),
            _ => return Err(malformed()),
        }
        Ok(None)
    }
}

fn failed(said: &[u8]) -> io::Result<FoldError> {
    Ok(match said {
        [1] => FoldError::Snapshot,
        [2, hash @ ..] => FoldError::Change(Hash::from_slice(hash).map_err(|_| malformed())?),
        [3] => FoldError::ReadBack,
        [4] => FoldError::TooLarge,
        [5, hash @ ..] => FoldError::Unreadable(Hash::from_slice(hash).map_err(|_| malformed())?),
        _ => return Err(malformed()),
    })
}
