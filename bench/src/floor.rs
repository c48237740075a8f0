//! What nothing can be faster than: an fsync of this disk, and SHA-256 of this processor.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use sync_core::id::Hash;

use crate::{Figure, quantiles};

const PAGE: [u8; 4096] = [7; 4096];

pub fn measure() -> Vec<Figure> {
    let (median, worst) = fsyncs();
    let began = Instant::now();
    for _ in 0..100_000 {
        black_box(Hash::of(&[&PAGE[..113]]));
    }
    let hash = began.elapsed().as_secs_f64() * 1e9 / 100_000.0;
    vec![
        Figure::note("floor: fdatasync of 4 KiB, median / p99", format!("{median:.0} / {worst:.0} µs")),
        Figure::note("floor: SHA-256 of 113 bytes", format!("{hash:.0} ns")),
    ]
}

/// Microseconds that an fsync of 4 KiB takes, the median and the p99.
pub fn fsyncs() -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = File::create(folder.path().join("floor")).expect("a file");
    let mut syncs = Vec::new();
    for _ in 0..500 {
        file.write_all(&PAGE).expect("a write");
        let began = Instant::now();
        file.sync_data().expect("an fsync");
        syncs.push(began.elapsed().as_secs_f64() * 1e6);
    }
    quantiles(syncs)
}
