//! How long edits took from the disk of the phone that made them to the document that the other phone shows.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::phone::times::{CONNECTED_FILE, RECORD_BYTES, SHOWN_FILE, TYPED_FILE};

/// What a phone wrote down.
pub struct Times {
    /// Each edit's time.
    typed: BTreeMap<u64, u64>,
    /// Places in the log, and when the document showed them; ascending in time.
    shown: Vec<(u64, u64)>,
    /// Spans of time without a connection.
    dark: Vec<(u64, u64)>,
}

/// Of all edits: how many were on their way while both phones were connected all the time, and how long they took.
#[derive(Debug, Default)]
pub struct Seen {
    /// Edits whose time is known.
    pub edits: usize,
    /// Milliseconds that live ones took, ascending.
    pub live_ms: Vec<f64>,
}

impl Times {
    /// Reads them from a phone's folder.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let typed = records(&folder.join(TYPED_FILE))?.into_iter().collect();
        let shown = records(&folder.join(SHOWN_FILE))?;
        let mut dark = Vec::new();
        let mut since = Some(0);
        for (connected, at_us) in records(&folder.join(CONNECTED_FILE))? {
            match (connected, since) {
                (0, None) => since = Some(at_us),
                (1, Some(from_us)) => {
                    dark.push((from_us, at_us));
                    since = None;
                }
                _ => {}
            }
        }
        dark.extend(since.map(|from_us| (from_us, u64::MAX)));
        Ok(Self { typed, shown, dark })
    }

    fn was_dark(&self, from_us: u64, until_us: u64) -> bool {
        self.dark.iter().any(|(from, until)| *from <= until_us && from_us <= *until)
    }
}

impl Seen {
    /// Counts the edits of one phone, whose places in the log are known, that another one came to see.
    pub fn count(&mut self, writer: &Times, places: &BTreeMap<u64, u64>, reader: &Times) {
        // When each place was first shown: a phone that was killed shows old ones again.
        let mut shown = Vec::new();
        let mut highest = 0;
        for &(seq, at_us) in &reader.shown {
            if seq > highest {
                highest = seq;
                shown.push((seq, at_us));
            }
        }
        for (edit, &typed_us) in &writer.typed {
            let Some(seq) = places.get(edit) else { continue };
            self.edits += 1;
            let first = shown.partition_point(|(shown, _)| shown < seq);
            let Some(&(_, seen_us)) = shown.get(first) else { continue };
            if !writer.was_dark(typed_us, seen_us) && !reader.was_dark(typed_us, seen_us) {
                self.live_ms.push(seen_us.saturating_sub(typed_us) as f64 / 1_000.0);
            }
        }
        self.live_ms.sort_by(f64::total_cmp);
    }

    /// Of the live ones, the time that this share of them took at most, in milliseconds.
    pub fn within_ms(&self, share: f64) -> Option<f64> {
        let last = self.live_ms.len().checked_sub(1)?;
        Some(self.live_ms[(last as f64 * share) as usize])
    }
}

fn records(path: &Path) -> io::Result<Vec<(u64, u64)>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    Ok(bytes.chunks_exact(RECORD_BYTES).map(|record| (number(&record[..8]), number(&record[8..]))).collect())
}
