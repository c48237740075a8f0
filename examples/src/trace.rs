//! Recordings of real people's typing: gzipped JSON, one writer after the other or several at once.
//!
//! The format is that of the public collection `josephg/editing-traces`: `txns` with patches `[position, deleted, inserted]`
//! that count Unicode characters, and `endContent`. Where several people wrote, a transaction names its `parents`: the text
//! that it was typed into is the merge of theirs.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;

/// A recording may inflate to this much; the largest known one holds 80 MiB.
const INFLATED_BYTES_MAX: u64 = 512 << 20;

/// People who wrote at once: each becomes a process of its own.
const AGENTS_MAX: usize = 16;

/// Why a recording cannot be used.
#[derive(Debug)]
pub enum TraceError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It is not gzipped JSON of a known form.
    Malformed(serde_json::Error),
    /// It has no transactions.
    Empty,
    /// A transaction names a parent that does not come before it.
    Parent {
        /// Its place in the recording.
        transaction: usize,
        /// The parent.
        parent: usize,
    },
    /// A transaction's writer is not one of those that the recording announces.
    Agent {
        /// Its place in the recording.
        transaction: usize,
        /// The writer.
        agent: usize,
    },
    /// A writer's transaction does not follow its own previous one: no single phone can have typed that.
    Branched {
        /// Its place in the recording.
        transaction: usize,
    },
    /// More writers than this reader takes.
    TooManyAgents(usize),
}

impl std::fmt::Display for TraceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            Self::Malformed(error) => write!(f, "this is not a gzipped editing trace: {error}"),
            Self::Empty => f.write_str("the trace has no transactions"),
            Self::Parent { transaction, parent } => {
                write!(f, "transaction {transaction} has the parent {parent}, which does not come before it")
            }
            Self::Agent { transaction, agent } => write!(f, "transaction {transaction} is of an unknown agent {agent}"),
            Self::Branched { transaction } => {
                write!(f, "transaction {transaction} does not follow its own agent's previous one")
            }
            Self::TooManyAgents(agents) => write!(f, "the trace has {agents} agents, {AGENTS_MAX} are the most"),
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::Malformed(error) => Some(error),
            _ => None,
        }
    }
}

/// One replacement in a text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "(u64, u64, String)")]
pub struct Patch {
    /// Where, in Unicode characters.
    pub at: u64,
    /// How many characters go.
    pub delete: u64,
    /// What comes in their place.
    pub insert: String,
}

impl From<(u64, u64, String)> for Patch {
    fn from((at, delete, insert): (u64, u64, String)) -> Self {
        Self { at, delete, insert }
    }
}

/// What one person did at once; mostly a keystroke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Who.
    pub agent: usize,
    /// For each agent, how many of its transactions are in the text that this one was typed into.
    pub past: Vec<usize>,
    /// What, one after the other.
    pub patches: Vec<Patch>,
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The text before the first transaction.
    pub start: String,
    /// The text in which every faithful replay ends.
    pub end: String,
    /// How many people wrote.
    pub agents: usize,
    /// All transactions, causes before effects.
    pub transactions: Vec<Transaction>,
}

impl Trace {
    /// Reads a recording from a file.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path).map_err(|error| TraceError::Unreadable(path.to_owned(), error))?;
        Self::parse(BufReader::new(file))
    }

    /// Reads a recording from gzipped bytes.
    pub fn parse(gzipped: impl Read) -> Result<Self, TraceError> {
        let json = BufReader::new(GzDecoder::new(gzipped).take(INFLATED_BYTES_MAX));
        let raw: Raw = serde_json::from_reader(json).map_err(TraceError::Malformed)?;
        raw.check()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    start_content: String,
    end_content: String,
    num_agents: Option<usize>,
    txns: Vec<RawTransaction>,
}

#[derive(Deserialize)]
struct RawTransaction {
    parents: Option<Vec<usize>>,
    #[serde(default)]
    agent: usize,
    patches: Vec<Patch>,
}

impl Raw {
    /// Turns parents into counts of what each agent had done, and refuses what no phones could have typed.
    fn check(self) -> Result<Trace, TraceError> {
        let agents = self.num_agents.unwrap_or(1);
        if self.txns.is_empty() || agents == 0 {
            return Err(TraceError::Empty);
        }
        if agents > AGENTS_MAX {
            return Err(TraceError::TooManyAgents(agents));
        }
        let mut done = vec![0; agents];
        let mut transactions: Vec<Transaction> = Vec::with_capacity(self.txns.len());
        for (at, raw) in self.txns.into_iter().enumerate() {
            let agent = raw.agent;
            if agent >= agents {
                return Err(TraceError::Agent { transaction: at, agent });
            }
            // Without parents written down, everything before is the past.
            let parents = raw.parents.unwrap_or_else(|| at.checked_sub(1).into_iter().collect());
            let mut past = vec![0; agents];
            for parent in parents {
                let Some(before) = transactions.get(parent) else {
                    return Err(TraceError::Parent { transaction: at, parent });
                };
                for (count, theirs) in past.iter_mut().zip(&before.past) {
                    *count = (*count).max(*theirs);
                }
                // A parent's own past does not count the parent itself.
                let count = &mut past[before.agent];
                *count = (*count).max(before.past[before.agent] + 1);
            }
            if past[agent] != done[agent] {
                return Err(TraceError::Branched { transaction: at });
            }
            done[agent] += 1;
            transactions.push(Transaction { agent, past, patches: raw.patches });
        }
        Ok(Trace { start: self.start_content, end: self.end_content, agents, transactions })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn parse(json: &str) -> Result<Trace, TraceError> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(json.as_bytes()).expect("writes to memory");
        Trace::parse(encoder.finish().expect("writes to memory").as_slice())
    }

    #[test]
    fn a_sequential_trace_is_one_writer() {
        let json =
            r#"{"startContent":"a","endContent":"ab","txns":[{"time":"","patches":[[1,0,"b"]]},{"patches":[]}]}"#;
        let trace = parse(json).expect("it is well-formed");
        assert_eq!((trace.start.as_str(), trace.end.as_str(), trace.agents), ("a", "ab", 1));
        let patch = Patch { at: 1, delete: 0, insert: "b".to_owned() };
        assert_eq!(trace.transactions[0], Transaction { agent: 0, past: vec![0], patches: vec![patch] });
        assert_eq!(trace.transactions[1].past, [1]);
    }

    #[test]
    fn a_concurrent_trace_keeps_who_had_seen_what() {
        let json = r#"{"kind":"concurrent","endContent":"","numAgents":2,"txns":[
            {"parents":[],"agent":0,"patches":[]}, {"parents":[0],"agent":1,"patches":[]},
            {"parents":[0],"agent":0,"patches":[]}, {"parents":[1,2],"agent":1,"patches":[]}]}"#;
        let trace = parse(json).expect("it is well-formed");
        let pasts: Vec<_> = trace.transactions.iter().map(|transaction| transaction.past.clone()).collect();
        assert_eq!(pasts, [vec![0, 0], vec![1, 0], vec![1, 0], vec![2, 1]]);
    }

    #[test]
    fn what_is_no_trace_is_refused_by_name() {
        let trace = |txns: &str| parse(&format!(r#"{{"endContent":"","numAgents":2,"txns":[{txns}]}}"#));
        let first = r#"{"parents":[],"agent":0,"patches":[]}"#;
        assert!(matches!(Trace::parse(&b"not gzip"[..]), Err(TraceError::Malformed(_))));
        assert!(matches!(parse("{}"), Err(TraceError::Malformed(_))));
        assert!(matches!(trace(""), Err(TraceError::Empty)));
        let late = trace(r#"{"parents":[7],"agent":0,"patches":[]}"#);
        assert!(matches!(late, Err(TraceError::Parent { transaction: 0, parent: 7 })));
        let stranger = trace(r#"{"parents":[],"agent":2,"patches":[]}"#);
        assert!(matches!(stranger, Err(TraceError::Agent { transaction: 0, agent: 2 })));
        let branched = trace(&format!("{first},{first}"));
        assert!(matches!(branched, Err(TraceError::Branched { transaction: 1 })));
    }
}
