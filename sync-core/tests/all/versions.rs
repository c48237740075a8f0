//! Version vectors are a lattice, and their codec has one form for each.

use std::cmp::Ordering;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sync_core::feed::{ChangeId, FeedHead};
use sync_core::id::{DeviceId, Hash};
use sync_core::limits::VECTOR_DEVICES_MAX;
use sync_core::version::{FeedHeads, VersionError, VersionVector};

use crate::cases::{cases, device};

fn some_device() -> impl Strategy<Value = DeviceId> {
    (0u8..8).prop_map(device)
}

fn vector() -> impl Strategy<Value = VersionVector> {
    let n = prop_oneof![4 => 0u64..6, 1 => any::<u64>()];
    btree_map(some_device(), n, 0..7).prop_map(|entries| entries.into_iter().collect())
}

fn merged(a: &VersionVector, b: &VersionVector) -> VersionVector {
    let mut both = a.clone();
    both.merge(b);
    both
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn merge_is_a_join(a in vector(), b in vector(), c in vector()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(&merged(&a, &a), &a);
        // The least vector above both.
        let both = merged(&a, &b);
        prop_assert!(a <= both && b <= both);
        prop_assert_eq!(a <= c && b <= c, both <= c);
    }

    #[test]
    fn contains_missing_and_compare_agree(a in vector(), b in vector(), device in some_device(), n in 1u64..8) {
        let id = ChangeId { device, n };
        let missing = a.missing(&b);
        let lacks = missing.iter().any(|range| range.device == device && (range.after + 1..=range.through).contains(&n));
        prop_assert_eq!(lacks, b.contains(id) && !a.contains(id));
        let expected = match (b.missing(&a).is_empty(), missing.is_empty()) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        };
        prop_assert_eq!(a.partial_cmp(&b), expected);
        prop_assert_eq!(a == b, expected == Some(Ordering::Equal));
        // What is missing, and nothing else, makes the other's vector.
        let mut filled = a.clone();
        for range in &missing {
            filled.advance(range.device, range.through);
        }
        prop_assert_eq!(filled, merged(&a, &b));
    }

    #[test]
    fn codec_is_canonical(a in vector(), garbage in vec(any::<u8>(), 0..80), at in any::<prop::sample::Index>(), bit in 0u32..8) {
        let bytes = a.encode();
        prop_assert_eq!(VersionVector::decode(&bytes), Ok(a));
        let mut mutated = bytes.clone();
        let at = at.index(mutated.len());
        mutated[at] ^= 1u8 << bit;
        let longer = [bytes.clone(), vec![0]].concat();
        // Whatever can be read has exactly these bytes: no vector has two forms.
        for other in [&mutated, &garbage, &longer] {
            if let Ok(read) = VersionVector::decode(other) {
                prop_assert_eq!(&read.encode(), other);
            }
        }
        for end in 0..bytes.len() {
            prop_assert!(VersionVector::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn heads_show_forks(a in btree_map(some_device(), (1u64..4, 0u8..2), 0..6), b in btree_map(some_device(), (1u64..4, 0u8..2), 0..6)) {
        let heads = |map: &std::collections::BTreeMap<DeviceId, (u64, u8)>| -> FeedHeads {
            map.iter().map(|(&device, &(n, chain))| (device, FeedHead { n, chain: Hash([chain; 32]) })).collect()
        };
        let (left, right) = (heads(&a), heads(&b));
        let expected: Vec<DeviceId> = a
            .iter()
            .filter(|(device, (n, chain))| b.get(device).is_some_and(|(other, fork)| other == n && fork != chain))
            .map(|(&device, _)| device)
            .collect();
        prop_assert_eq!(left.forks(&right), expected);
        prop_assert_eq!(left.vector().iter().collect::<Vec<_>>(), a.iter().map(|(&device, &(n, _))| (device, n)).collect::<Vec<_>>());
    }
}

#[test]
fn a_vector_names_a_bounded_number_of_devices() {
    let numbered = |number: u64| DeviceId::from_slice(&u128::from(number).to_be_bytes()).unwrap();
    let full: VersionVector = (0..VECTOR_DEVICES_MAX as u64).map(|number| (numbered(number), 1)).collect();
    assert_eq!(VersionVector::decode(&full.encode()), Ok(full));
    // A claim alone costs nothing.
    assert_eq!(VersionVector::decode(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(VersionError::TooManyDevices));
}
