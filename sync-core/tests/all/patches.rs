//! An observer that only applies patches always shows what the document holds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sync_core::document::Document;
use sync_core::value::{Path, Value};

use crate::cases::{actor, cases};
use crate::rng::Rng;
use crate::{edits, mirror};

struct Side {
    document: Document,
    shown: Value,
    sealed: Vec<Vec<u8>>,
}

impl Side {
    fn new(number: u8) -> Self {
        Self { document: Document::new(actor(number)), shown: Value::Map(BTreeMap::new()), sealed: Vec::new() }
    }

    fn value(&self) -> Value {
        self.document.get(Path::root()).unwrap()
    }

    fn edit(&mut self, ops: Vec<sync_core::document::Op>, rng: &mut Rng) {
        let edited = self.document.edit(ops.clone(), &mut || rng.next()).unwrap();
        edited.patches.iter().for_each(|patch| mirror::apply(&mut self.shown, patch));
        self.sealed.extend(edited.sealed.into_iter().map(|sealed| sealed.bytes));
        assert_eq!(self.shown, self.value(), "after {ops:?}");
    }

    fn seal(&mut self, rng: &mut Rng) {
        self.sealed.extend(self.document.seal(&mut || rng.next()).map(|sealed| sealed.bytes));
    }

    fn apply(&mut self, changes: &[Vec<u8>]) {
        let applied = self.document.apply(changes).unwrap();
        assert_eq!(applied.left_out, []);
        applied.patches.iter().for_each(|patch| mirror::apply(&mut self.shown, patch));
        assert_eq!(self.shown, self.value(), "after {:#?}", applied.patches);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn mirrors_follow(seed: u64, steps in 1usize..40) {
        let mut rng = Rng(seed);
        let mut sides = [Side::new(1), Side::new(2)];
        sides[0].edit(edits::beginning(), &mut rng);
        sides[0].seal(&mut rng);
        let mut taken = [0, 0];
        for _ in 0..steps {
            let at = rng.below(2);
            if rng.chance(75) {
                let op = edits::op(&sides[at].value(), &mut rng);
                sides[at].edit(vec![op], &mut rng);
                continue;
            }
            // What the other has sealed since, and what it built upon, which is here: two sides only.
            sides[at].seal(&mut rng);
            sides[1 - at].seal(&mut rng);
            let new = sides[1 - at].sealed[taken[at]..].to_vec();
            taken[at] += new.len();
            sides[at].apply(&new);
        }
        for side in &mut sides {
            side.seal(&mut rng);
        }
        for at in 0..2 {
            let new = sides[1 - at].sealed[taken[at]..].to_vec();
            sides[at].apply(&new);
        }
        prop_assert_eq!(&sides[0].shown, &sides[1].shown);
        prop_assert_eq!(sides[0].document.canonical_save().unwrap(), sides[1].document.canonical_save().unwrap());
    }
}
