//! The keystrokes of a long paper: those of an editing trace, or typed by nobody but as people type.

use std::path::Path;

use serde_json::{Value, json};
use sync_examples::trace::Trace;
use sync_tests::rig::Seeded;

const PROSE: &str = include_str!("../../../LICENSE-APACHE");
/// Of a thousand keystrokes so many take one back.
const DELETED: u64 = 297;

/// Writes them as `[at, delete, insert]`, so many at most.
pub fn write(file: &Path, trace: Option<&Path>, keystrokes: usize) {
    let strokes = match trace {
        Some(trace) => {
            let trace = Trace::read(trace).expect("a gzipped editing trace");
            let patches = trace.transactions.into_iter().flat_map(|transaction| transaction.patches);
            patches.take(keystrokes).map(|patch| json!([patch.at, patch.delete, patch.insert])).collect()
        }
        None => typed(keystrokes),
    };
    std::fs::write(file, Value::Array(strokes).to_string()).expect("a file is written");
}

fn typed(keystrokes: usize) -> Vec<Value> {
    let prose: Vec<char> = PROSE.chars().collect();
    let mut random = Seeded::new("paper");
    let (mut length, mut cursor) = (0u64, 0u64);
    (0..keystrokes)
        .map(|stroke| {
            let typed = if random.below(1_000) < DELETED && cursor > 0 {
                cursor -= 1;
                length -= 1;
                json!([cursor, 1, ""])
            } else {
                cursor += 1;
                length += 1;
                json!([cursor - 1, 0, prose[stroke % prose.len()].to_string()])
            };
            if random.below(400) == 0 {
                cursor = if random.below(3) == 0 { random.below(length + 1) } else { length };
            }
            typed
        })
        .collect()
}
