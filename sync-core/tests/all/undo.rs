//! Undo and redo: alone exactly, and with others' edits in between only what is one's own.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sync_core::document::{Document, Expand, Op, UndoStep, Undone};
use sync_core::path;
use sync_core::value::{Path, Value};

use crate::cases::{actor, cases};
use crate::edits;
use crate::rng::Rng;

/// A document whose edits can be undone, with the steps of both directions.
struct Editor {
    document: Document,
    undo: Vec<UndoStep>,
    redo: Vec<UndoStep>,
}

impl Editor {
    fn new(number: u8, beginning: &[u8]) -> Self {
        let document = Document::load(actor(number), None, &[beginning]).unwrap().0;
        Self { document, undo: Vec::new(), redo: Vec::new() }
    }

    /// `false` for an edit that changes nothing.
    fn edit(&mut self, ops: Vec<Op>) -> bool {
        let said = format!("{ops:?}");
        let (_, step) = self.document.edit_recorded(ops, &mut || 1).unwrap();
        let step = step.unwrap_or_else(|| panic!("{said}"));
        self.redo.clear();
        let changes = !step.is_empty();
        self.undo.extend(changes.then_some(step));
        changes
    }

    /// `false` if there is nothing, or nothing came of it.
    fn turn(&mut self, undo: bool) -> bool {
        let (from, to) = if undo { (&mut self.undo, &mut self.redo) } else { (&mut self.redo, &mut self.undo) };
        let Some(step) = from.pop() else { return false };
        let Undone { ops, redo, renames, .. } = self.document.undo(&step, &mut || 1).unwrap();
        if !ops.is_empty() {
            to.push(redo.unwrap());
        }
        self.undo.iter_mut().chain(&mut self.redo).for_each(|step| step.rename(&renames));
        !ops.is_empty()
    }

    fn root(&self) -> Value {
        self.document.get(Path::root()).unwrap()
    }

    /// What is open, as a change.
    fn sealed(&mut self) -> Vec<Vec<u8>> {
        self.document.seal(&mut || 7).map(|sealed| sealed.bytes).into_iter().collect()
    }
}

fn beginning() -> Vec<u8> {
    let mut document = Document::new(actor(9));
    document.edit(edits::beginning(), &mut || 1).unwrap();
    document.seal(&mut || 1).unwrap().bytes
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn alone_undo_and_redo_walk_through_the_states(seed: u64) {
        let mut rng = Rng(seed);
        let mut editor = Editor::new(1, &beginning());
        let mut states = vec![editor.root()];
        for _ in 0..=rng.below(12) {
            let mut ops = Vec::new();
            // Each operation of an edit must be possible behind the one before it.
            let mut draft = Editor::new(1, &beginning());
            draft.document.edit(vec![Op::Put { path: "all".into(), value: editor.root() }], &mut || 1).unwrap();
            for _ in 0..=rng.below(3) {
                let Some(Value::Map(map)) = draft.document.get("all") else { panic!("a map") };
                let op = edits::op(&Value::Map(map), &mut rng);
                draft.document.edit(vec![under("all", op.clone())], &mut || 1).unwrap();
                ops.push(op);
            }
            if editor.edit(ops) {
                states.push(editor.root());
            }
            if rng.chance(30) {
                editor.sealed();
            }
        }
        let last = states.len() - 1;
        let mut at = last;
        let walk = (0..last).map(|_| true).chain((0..last).map(|_| false));
        let walk: Vec<bool> = walk.chain((0..20).map(|_| rng.chance(60))).collect();
        for undo in walk {
            if if undo { at == 0 } else { at == last } {
                continue;
            }
            let before = editor.root();
            editor.turn(undo);
            at = if undo { at - 1 } else { at + 1 };
            prop_assert_eq!(editor.root(), states[at].clone(), "{} from {:?}", undo, before);
            if rng.chance(20) {
                editor.sealed();
            }
        }
    }

    #[test]
    fn with_others_at_work_undo_takes_back_what_is_ones_own_and_redo_brings_it_again(seed: u64) {
        let mut rng = Rng(seed);
        let mut setup = Document::new(actor(9));
        let digits = Op::Put { path: "text".into(), value: Value::Text("0123456789".into()) };
        let count = Op::Put { path: "count".into(), value: Value::Counter(0) };
        let items = Op::Put { path: "items".into(), value: Value::List(vec!["0".into(), "1".into(), "2".into()]) };
        setup.edit(vec![digits, count, items], &mut || 1).unwrap();
        let base = setup.seal(&mut || 1).unwrap().bytes;
        let (mut ours, mut theirs) = (Editor::new(1, &base), Editor::new(2, &base));
        let (mut counted, mut mine) = (0, 0);
        for _ in 0..30 {
            let here = rng.chance(50);
            let editor = if here { &mut ours } else { &mut theirs };
            let Some(Value::Text(text)) = editor.document.get("text") else { panic!("a text") };
            let (length, letter) = (text.chars().count(), rng.pick(&["a", "b", "cd"]).to_string());
            let items = editor.document.length("items").unwrap() as usize;
            let at = rng.below(length + 1);
            let splice = |at: usize, delete, insert: &str| Op::Splice {
                path: "text".into(),
                at: at as u64,
                delete,
                insert: insert.into(),
            };
            let op = match (rng.below(5), here) {
                (0, _) => Op::Increment { path: "count".into(), by: if here { 1 } else { 100 } },
                (1, true) => Op::Put { path: "mine".into(), value: 1i64.into() },
                (1, false) => Op::Put { path: "theirs".into(), value: 1i64.into() },
                (2, _) => Op::Insert {
                    path: path!["items", rng.below(items + 1)],
                    values: vec![if here { letter.into() } else { letter.to_uppercase().into() }],
                },
                // Only here is deleted, and only what nobody else has written.
                (3, true) => match text.chars().position(|letter| !letter.is_uppercase()) {
                    None => splice(at, 0, &letter),
                    Some(at) => splice(at, 1, ""),
                },
                (_, true) => splice(at, 0, &letter),
                (_, false) => splice(at, 0, &letter.to_uppercase()),
            };
            if let Op::Increment { by, .. } = &op {
                counted += by;
                mine += if here { *by } else { 0 };
            }
            editor.edit(vec![op]);
            if rng.chance(40) {
                meet(&mut ours, &mut theirs);
            }
        }
        meet(&mut ours, &mut theirs);
        let pick = |editor: &Editor, kind: &dyn Fn(char) -> bool| -> String {
            let items = match editor.document.get("items") {
                Some(Value::List(items)) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
                _ => String::new(),
            };
            let text = editor.document.text("text").unwrap();
            format!("{text}|{items}").chars().filter(|letter| *letter == '|' || kind(*letter)).collect()
        };
        let (upper, lower, digit) = (
            |letter: char| letter.is_uppercase(),
            |letter: char| letter.is_lowercase(),
            |letter: char| letter.is_ascii_digit(),
        );
        let before = [pick(&ours, &upper), pick(&ours, &lower), pick(&ours, &digit)];
        let mine_there = ours.document.get("mine");
        while !ours.undo.is_empty() {
            ours.turn(true);
            if rng.chance(30) {
                theirs.edit(vec![Op::Put { path: "theirs".into(), value: 2i64.into() }]);
                meet(&mut ours, &mut theirs);
            }
        }
        prop_assert_eq!(pick(&ours, &upper), before[0].clone(), "what others wrote stays, in its order");
        prop_assert_eq!(pick(&ours, &lower), "|");
        prop_assert_eq!(pick(&ours, &digit), "0123456789|012");
        prop_assert_eq!(ours.document.get("count"), Some(Value::Counter(counted - mine)));
        prop_assert_eq!(ours.document.get("mine"), None);
        while !ours.redo.is_empty() {
            ours.turn(false);
            if rng.chance(30) {
                meet(&mut ours, &mut theirs);
            }
        }
        meet(&mut ours, &mut theirs);
        for editor in [&ours, &theirs] {
            let after = [pick(editor, &upper), pick(editor, &lower), pick(editor, &digit)];
            prop_assert_eq!(&after, &before);
            prop_assert_eq!(editor.document.get("count"), Some(Value::Counter(counted)));
            prop_assert_eq!(editor.document.get("mine"), mine_there.clone());
        }
        prop_assert_eq!(ours.document.canonical_save().unwrap(), theirs.document.canonical_save().unwrap());
    }
}

/// The same operation on what is under a key.
fn under(key: &str, mut op: Op) -> Op {
    match &mut op {
        Op::Put { path, .. }
        | Op::Insert { path, .. }
        | Op::Delete { path }
        | Op::Splice { path, .. }
        | Op::Mark { path, .. }
        | Op::Increment { path, .. } => path.0.insert(0, key.into()),
    }
    op
}

/// Each gets what the other has open.
fn meet(one: &mut Editor, other: &mut Editor) {
    let (here, there) = (one.sealed(), other.sealed());
    one.document.apply(&there).unwrap();
    other.document.apply(&here).unwrap();
}

#[test]
fn what_others_have_replaced_is_left_alone() {
    let base = beginning();
    let (mut ours, mut theirs) = (Editor::new(1, &base), Editor::new(2, &base));
    let put = |path: Path, value: &str| Op::Put { path, value: value.into() };
    ours.edit(vec![put("title".into(), "ours"), put(path!["list", 1], "ours")]);
    ours.edit(vec![Op::Insert { path: path!["list", 0], values: vec!["new".into()] }]);
    meet(&mut ours, &mut theirs);
    theirs.edit(vec![
        put("title".into(), "theirs"),
        put(path!["list", 2], "theirs"),
        Op::Delete { path: path!["list", 0] },
    ]);
    meet(&mut ours, &mut theirs);
    let shown = ours.root();
    assert!(!ours.turn(true), "the element is gone");
    assert!(!ours.turn(true), "both places show something else");
    assert_eq!(ours.root(), shown);
    assert!(ours.redo.is_empty() && ours.undo.is_empty());
}

#[test]
fn steps_find_what_was_put_back_under_its_new_identity() {
    let mut editor = Editor::new(1, &beginning());
    let note = Value::Map(BTreeMap::from([("body".to_owned(), Value::Text("ab".into()))]));
    editor.edit(vec![Op::Put { path: "note".into(), value: note }]);
    editor.edit(vec![Op::Splice { path: path!["note", "body"], at: 1, delete: 0, insert: "x".into() }]);
    editor.edit(vec![Op::Delete { path: "note".into() }]);
    let text = |editor: &Editor| editor.document.text(path!["note", "body"]);
    let shown = [None, Some("ab"), Some("axb"), None];
    for at in [2, 1, 0] {
        assert!(editor.turn(true));
        assert_eq!(text(&editor).as_deref(), shown[at]);
    }
    for shown in &shown[1..] {
        assert!(editor.turn(false));
        assert_eq!(text(&editor).as_deref(), *shown);
    }
    for at in [2, 1, 0] {
        assert!(editor.turn(true));
        assert_eq!(text(&editor).as_deref(), shown[at]);
    }
}

#[test]
fn marks_go_back_to_what_was_marked_before() {
    let mut editor = Editor::new(1, &beginning());
    let mark = |start, end, value| Op::Mark {
        path: "text".into(),
        start,
        end,
        name: "bold".into(),
        value,
        expand: Expand::None,
    };
    let marks = |editor: &Editor| {
        let marks = editor.document.marks("text").unwrap();
        marks.iter().map(|mark| (mark.start, mark.end, mark.value.clone())).collect::<Vec<_>>()
    };
    editor.edit(vec![mark(0, 4, true.into())]);
    let first = marks(&editor);
    editor.edit(vec![mark(2, 6, "heavy".into())]);
    let second = marks(&editor);
    editor.edit(vec![mark(0, 9, Value::Null)]);
    assert_eq!(marks(&editor), []);
    assert!(editor.turn(true));
    assert_eq!(marks(&editor), second);
    assert!(editor.turn(true));
    assert_eq!(marks(&editor), first);
    assert!(editor.turn(true));
    assert_eq!(marks(&editor), []);
    assert!(editor.turn(false) && editor.turn(false));
    assert_eq!(marks(&editor), second);
}

#[test]
fn an_undo_that_is_longer_than_a_change_is_split_and_all_of_it() {
    let mut editor = Editor::new(1, &beginning());
    let long = "x".repeat(10_000);
    editor.edit(vec![Op::Splice { path: "text".into(), at: 4, delete: 0, insert: long.clone() }]);
    let shown = editor.root();
    assert!(editor.turn(true));
    assert_eq!(editor.document.text("text").as_deref(), Some("some text"));
    assert!(editor.turn(false));
    assert_eq!(editor.root(), shown);
    assert!(editor.undo[0].bytes() >= long.len());
}
