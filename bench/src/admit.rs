//! The dedupe rule on a run of 10,000 changes whose first 9,999 are duplicates.

use std::hint::black_box;
use std::time::Instant;

use sync_core::admit::{Admission, admit};
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};

use crate::{Figure, quantiles};

pub fn measure() -> Vec<Figure> {
    let (space, device) = (SpaceId::from_random([1; 16]), DeviceId::from_random([2; 16]));
    let doc = DocId::from_bytes([3; 16]);
    let item = |n: u64| Item::change(doc, Hash::of(&[&n.to_be_bytes()]), vec![0; 113]);
    let base = FeedHead::start(space, device);
    let run = Run { device, base, items: (0..10_000).map(item).collect() };
    let began = Instant::now();
    let links = run.links();
    let hashing = began.elapsed().as_secs_f64() * 1e3;
    let acked = FeedHead { n: 9_999, chain: links[9_998] };
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let began = Instant::now();
        let admission = admit(black_box(&acked), black_box(&run.base), black_box(&links));
        times.push(began.elapsed().as_secs_f64() * 1e3);
        assert_eq!(admission, Admission::Fresh { duplicates: 9_999 });
    }
    let (median, worst) = quantiles(times);
    vec![
        Figure::against(
            "admit of 10,000 changes, 9,999 of them duplicates, median / p99",
            format!("{:.2} / {:.2} µs", median * 1e3, worst * 1e3),
            "< 1 ms without hashing",
            median < 1.0,
        ),
        Figure::note("hashing its chain", format!("{hashing:.2} ms")),
    ]
}
