//! Going back to a version: exactly what was, and what was kept since stays where others know it.

use proptest::prelude::*;
use sync_core::document::{Document, Expand, Marked, Op};
use sync_core::id::Hash;
use sync_core::path;
use sync_core::value::{Path, Value};

use crate::cases::{actor, cases};
use crate::edits;
use crate::rng::Rng;

fn seal(document: &mut Document) -> Vec<Vec<u8>> {
    document.seal(&mut || 7).map(|sealed| sealed.bytes).into_iter().collect()
}

fn edit(document: &mut Document, ops: Vec<Op>) -> Vec<Vec<u8>> {
    document.edit(ops, &mut || 1).unwrap();
    seal(document)
}

fn give(document: &mut Document, changes: &[Vec<u8>]) {
    assert_eq!(document.apply(changes).unwrap().left_out, []);
}

/// The paths of all texts in a value.
fn texts(path: &Path, value: &Value, out: &mut Vec<Path>) {
    match value {
        Value::Text(_) => out.push(path.clone()),
        Value::Map(map) => map.iter().for_each(|(key, value)| texts(&path.join(key.as_str()), value, out)),
        Value::List(list) => list.iter().enumerate().for_each(|(at, value)| texts(&path.join(at), value, out)),
        _ => {}
    }
}

type Shown = (Value, Vec<(Path, Vec<Marked>)>);

/// All that is to be seen.
fn shown(document: &Document) -> Shown {
    let root = document.get(Path::root()).unwrap();
    let mut paths = Vec::new();
    texts(&Path::root(), &root, &mut paths);
    let marks = paths.into_iter().map(|path| {
        let mut marks = document.marks(path.clone()).unwrap();
        marks.sort_by_key(|mark| (mark.start, mark.end));
        (path, marks)
    });
    let marks = marks.collect();
    (root, marks)
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn any_version_comes_back_whole(seed: u64) {
        let mut rng = Rng(seed);
        let mut setup = Document::new(actor(9));
        let mut all = edit(&mut setup, edits::beginning());
        let load = |number, all: &[Vec<u8>]| Document::load(actor(number), None, all).unwrap().0;
        let (mut ours, mut theirs) = (load(1, &all), load(2, &all));
        let mut versions: Vec<(Vec<Hash>, Shown)> = vec![(ours.heads(), shown(&ours))];
        for _ in 0..=rng.below(10) {
            for document in [&mut ours, &mut theirs] {
                let root = document.get(Path::root()).unwrap();
                all.extend(edit(document, vec![edits::op(&root, &mut rng)]));
            }
            if rng.chance(50) {
                give(&mut ours, &all);
                give(&mut theirs, &all);
            }
            versions.push((ours.heads(), shown(&ours)));
        }
        for _ in 0..3 {
            let (heads, before) = rng.pick(&versions).clone();
            let ops = ours.restoring(Path::root(), &heads).unwrap();
            let said = format!("{ops:?}");
            if !ops.is_empty() {
                all.extend(edit(&mut ours, ops));
            }
            prop_assert_eq!(shown(&ours), before, "{}", said);
            prop_assert_eq!(ours.restoring(Path::root(), &heads).unwrap(), vec![], "once is enough");
            versions.push((ours.heads(), shown(&ours)));
        }
        give(&mut ours, &all);
        give(&mut theirs, &all);
        prop_assert_eq!(shown(&ours), shown(&theirs));
    }
}

#[test]
fn what_was_kept_stays_where_others_know_it() {
    let mut ours = Document::new(actor(1));
    let text = |text: &str| Value::Text(text.into());
    let mut all = edit(
        &mut ours,
        vec![
            Op::Put { path: "body".into(), value: text("one two three") },
            Op::Put { path: "items".into(), value: Value::List(vec![text("a"), text("b"), text("c")]) },
            Op::Put { path: "likes".into(), value: Value::Counter(5) },
        ],
    );
    let then = ours.heads();
    let mut theirs = Document::load(actor(2), None, &all).unwrap().0;
    all.extend(edit(
        &mut ours,
        vec![
            Op::Splice { path: "body".into(), at: 4, delete: 4, insert: String::new() },
            Op::Splice { path: "body".into(), at: 0, delete: 0, insert: "zero ".into() },
            Op::Delete { path: path!["items", 0] },
            Op::Increment { path: "likes".into(), by: 3 },
            Op::Put { path: "new".into(), value: 1.into() },
        ],
    ));
    assert_eq!(ours.text("body").unwrap(), "zero one three");
    // Another device writes into what both have.
    all.extend(edit(
        &mut theirs,
        vec![
            Op::Splice { path: "body".into(), at: 13, delete: 0, insert: "!".into() },
            Op::Splice { path: path!["items", 1], at: 1, delete: 0, insert: "bb".into() },
            Op::Increment { path: "likes".into(), by: 10 },
        ],
    ));
    let ops = ours.restoring(Path::root(), &then).unwrap();
    all.extend(edit(&mut ours, ops));
    assert_eq!(ours.json(Path::root()).unwrap(), r#"{"body":"one two three","items":["a","b","c"],"likes":5}"#);
    give(&mut ours, &all);
    give(&mut theirs, &all);
    let both = r#"{"body":"one two three!","items":["a","bbb","c"],"likes":15}"#;
    assert_eq!((ours.json(Path::root()).unwrap().as_str(), theirs.json(Path::root()).unwrap().as_str()), (both, both));
}

#[test]
fn a_part_is_restored_with_its_marks_and_the_rest_left_alone() {
    let mut ours = Document::new(actor(1));
    edit(
        &mut ours,
        vec![
            Op::Put { path: "a".into(), value: Value::Text("bold and plain".into()) },
            Op::Mark {
                path: "a".into(),
                start: 0,
                end: 4,
                name: "bold".into(),
                value: true.into(),
                expand: Expand::After,
            },
            Op::Put { path: "b".into(), value: 1.into() },
        ],
    );
    let (then, before) = (ours.heads(), shown(&ours));
    edit(&mut ours, vec![Op::Delete { path: "a".into() }, Op::Put { path: "b".into(), value: 2.into() }]);
    let ops = ours.restoring("a", &then).unwrap();
    edit(&mut ours, ops);
    assert_eq!(shown(&ours).1, before.1, "the marks are back");
    assert_eq!(ours.json(Path::root()).unwrap(), r#"{"a":"bold and plain","b":2}"#);
    let ops = ours.restoring("b", &then).unwrap();
    edit(&mut ours, ops);
    assert_eq!(shown(&ours), before);
    assert_eq!(ours.restoring("nowhere", &then), Some(vec![]));
}

#[test]
fn what_is_not_known_is_not_restored() {
    let mut ours = Document::new(actor(1));
    edit(&mut ours, vec![Op::Put { path: "a".into(), value: 1.into() }]);
    assert_eq!(ours.restoring(Path::root(), &[Hash([7; 32])]), None);
    let heads = ours.heads();
    ours.edit(vec![Op::Put { path: "a".into(), value: 2.into() }], &mut || 1).unwrap();
    assert_eq!(ours.restoring(Path::root(), &heads), None, "what is open is sealed first");
}
