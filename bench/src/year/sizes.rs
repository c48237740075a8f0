//! What takes how much room.

use std::fmt::Write;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// How things stand at the end of a month. Sizes of files are those of the pages that are in use.
#[derive(Debug, Clone, Default)]
pub struct Month {
    pub edits: u64,
    /// All documents as JSON.
    pub text_bytes: u64,
    /// Applied changes in the log.
    pub changes: u64,
    pub server_bytes: u64,
    /// Of that what is not payloads or snapshots.
    pub header_bytes: u64,
    pub payload_bytes: u64,
    pub snapshot_bytes: u64,
    /// A phone's store that was there all the time.
    pub phone_bytes: u64,
    /// That of a phone that has just begun, and what came down for it.
    pub fresh_bytes: u64,
    pub received_bytes: u64,
}

fn open(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database")
}

fn number(connection: &Connection, sql: &str) -> u64 {
    connection.query_row(sql, (), |row| row.get(0)).expect("a number")
}

fn used_bytes(connection: &Connection) -> u64 {
    let of = |what: &str| number(connection, &format!("PRAGMA {what}"));
    (of("page_count") - of("freelist_count")) * of("page_size")
}

/// A phone's store.
pub fn store_bytes(path: &Path) -> u64 {
    used_bytes(&open(path))
}

/// What is on the server; the rest is left out.
pub fn server(data: &Path) -> Month {
    let connection = open(&data.join(sync_server::store::sqlite::FILE));
    let sum = |table: &str| number(&connection, &format!("SELECT COALESCE(SUM(LENGTH(bytes)), 0) FROM {table}"));
    let (payload_bytes, snapshot_bytes) = (sum("payloads"), sum("snapshot_parts"));
    let server_bytes = used_bytes(&connection);
    Month {
        changes: number(&connection, "SELECT COUNT(*) FROM log WHERE kind = 2 AND verdict = 0"),
        server_bytes,
        header_bytes: server_bytes.saturating_sub(payload_bytes + snapshot_bytes),
        payload_bytes,
        snapshot_bytes,
        ..Month::default()
    }
}

/// As Markdown, in megabytes.
pub fn table(months: &[Month]) -> String {
    let mut text =
        "| month | edits | changes | text | server | headers | payloads | snapshots | a phone | a fresh one | \
                    it received |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for (month, at) in months.iter().zip(1..) {
        // Writing to a string cannot fail.
        let _ = write!(text, "| {at} | {} | {} |", month.edits, month.changes);
        let sizes = [
            month.text_bytes,
            month.server_bytes,
            month.header_bytes,
            month.payload_bytes,
            month.snapshot_bytes,
            month.phone_bytes,
            month.fresh_bytes,
            month.received_bytes,
        ];
        for bytes in sizes {
            let _ = write!(text, " {:.2} |", crate::year::mb(bytes));
        }
        text.push('\n');
    }
    text
}
