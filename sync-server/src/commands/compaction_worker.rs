//! `sync-server compaction-worker`: folds documents for a server, which starts it and speaks to it over its standard input
//! and output.

use clap::Args;
use sync_server::compaction::{self, Workshop};
use sync_server::config::Config;

use super::Done;

#[derive(Args)]
pub struct CompactionWorker {
    /// What it may take in memory
    #[arg(long, value_name = "BYTES")]
    memory_bytes: u64,
}

/// Until standard input ends.
pub fn work(arguments: &CompactionWorker) -> Done {
    Ok(compaction::work(arguments.memory_bytes)?)
}

/// This program as a worker.
pub fn workshop(config: &Config) -> std::io::Result<Workshop> {
    let memory_bytes = config.compaction.worker_memory_bytes.to_string();
    let arguments = ["compaction-worker", "--memory-bytes", &memory_bytes].map(str::to_owned).to_vec();
    Ok(Workshop::Program { program: std::env::current_exe()?, arguments })
}
