//! The log's chain covers every field of every entry, and a receipt proves a place in it.

use proptest::prelude::*;
use sync_core::code::RejectCode;
use sync_core::feed::{ChangeId, ItemKind};
use sync_core::id::{Hash, SpaceId};
use sync_core::log::{Cursor, Header, Receipt, ReceiptKey, Verdict};

use crate::cases::{SPACE, cases, device, doc};

fn header() -> impl Strategy<Value = Header> {
    let kind = prop_oneof![Just(ItemKind::Create), Just(ItemKind::Change), Just(ItemKind::Delete)];
    let code = prop::sample::select(RejectCode::ALL);
    let verdict = prop_oneof![Just(Verdict::Applied), code.prop_map(Verdict::Rejected)];
    (0u8..9, any::<u64>(), kind, 0u8..9, any::<[u8; 32]>(), verdict).prop_map(|(of, n, kind, to, hash, verdict)| {
        Header { id: ChangeId { device: device(of), n }, kind, doc: doc(to), hash: Hash(hash), verdict }
    })
}

fn end(space: SpaceId, headers: &[Header]) -> Cursor {
    headers.iter().fold(Cursor::start(space), Cursor::next)
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn the_chain_covers_everything(headers in prop::collection::vec(header(), 1..12), other in header(), at in any::<prop::sample::Index>()) {
        let whole = end(SPACE, &headers);
        prop_assert_eq!(whole.seq, headers.len() as u64);
        let at = at.index(headers.len());
        for field in 0..6 {
            let mut altered = headers.clone();
            let header = &mut altered[at];
            match field {
                0 => header.id.device = other.id.device,
                1 => header.id.n = other.id.n,
                2 => header.kind = other.kind,
                3 => header.doc = other.doc,
                4 => header.hash = other.hash,
                _ => header.verdict = other.verdict,
            }
            prop_assert_eq!(end(SPACE, &altered) == whole, altered == headers);
        }
        let mut swapped = headers.clone();
        swapped.swap(0, at);
        prop_assert_eq!(end(SPACE, &swapped) == whole, swapped == headers);
        prop_assert_ne!(end(SpaceId::from_bytes([8; 16]), &headers), whole);
        prop_assert_ne!(end(SPACE, &headers[1..]), whole);
    }

    #[test]
    fn only_the_key_makes_receipts(seq in any::<u64>(), chain in any::<[u8; 32]>(), forged in any::<[u8; 32]>(), bit in 0usize..256) {
        let place = Cursor { seq, chain: Hash(chain) };
        let key = ReceiptKey::new([1; 32]);
        let receipt = key.sign(SPACE, &place);
        prop_assert!(key.verify(SPACE, &place, &receipt));
        prop_assert!(ReceiptKey::new([1; 32]).verify(SPACE, &place, &Receipt::from_hash(*receipt.as_hash())));

        let flip = |mut hash: Hash| {
            hash.0[bit / 8] ^= 1 << (bit % 8);
            hash
        };
        prop_assert!(!key.verify(SPACE, &place, &Receipt::from_hash(Hash(forged))));
        prop_assert!(!key.verify(SPACE, &place, &Receipt::from_hash(flip(*receipt.as_hash()))));
        let elsewhere = [Cursor { seq: seq ^ 1 << (bit % 64), ..place }, Cursor { chain: flip(place.chain), ..place }];
        prop_assert!(elsewhere.iter().all(|place| !key.verify(SPACE, place, &receipt)));
        prop_assert!(!key.verify(SpaceId::from_bytes([8; 16]), &place, &receipt));
        prop_assert!(!ReceiptKey::new([2; 32]).verify(SPACE, &place, &receipt));
        prop_assert!(!format!("{key:?}").contains('1'), "a key is never printed");
    }
}

#[test]
fn verdicts_and_kinds_keep_their_numbers() {
    for number in 0..=u8::MAX {
        assert!(Verdict::from_number(number).is_none_or(|verdict| verdict.number() == number));
        assert!(ItemKind::from_number(number).is_none_or(|kind| kind.number() == number));
    }
    assert_eq!(
        RejectCode::ALL.iter().filter_map(|code| Verdict::from_number(code.number())).count(),
        RejectCode::ALL.len()
    );
}
