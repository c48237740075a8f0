//! What an observer shows: a value of its own that only patches change.

use sync_core::document::{Action, Patch};
use sync_core::value::{Path, Step, Value};

pub fn apply(root: &mut Value, patch: &Patch) {
    match &patch.action {
        Action::Put(value) => put(root, &patch.path, value.clone()),
        Action::Insert { at, values } => {
            let Value::List(list) = at_path(root, &patch.path.0) else { panic!("no list for {patch:?}") };
            let at = *at as usize;
            list.splice(at..at, values.iter().cloned());
        }
        Action::InsertText { at, text } => {
            let Value::Text(shown) = at_path(root, &patch.path.0) else { panic!("no text for {patch:?}") };
            let at = byte(shown, *at);
            shown.insert_str(at, text);
        }
        Action::Remove { at, count } => match at_path(root, &patch.path.0) {
            Value::List(list) => drop(list.drain(*at as usize..(at + count) as usize)),
            Value::Text(shown) => {
                let range = byte(shown, *at)..byte(shown, at + count);
                shown.replace_range(range, "");
            }
            other => panic!("nothing to remove from in {other:?} for {patch:?}"),
        },
        Action::Delete => {
            let (key, above) = patch.path.0.split_last().expect("a key");
            let (Step::Key(key), Value::Map(map)) = (key, at_path(root, above)) else { panic!("no map for {patch:?}") };
            assert!(map.remove(key).is_some(), "nothing to delete for {patch:?}");
        }
        Action::Increment(by) => match at_path(root, &patch.path.0) {
            Value::Counter(value) => *value += by,
            other => panic!("{other:?} is no counter for {patch:?}"),
        },
        Action::Mark { .. } => {}
    }
}

fn put(root: &mut Value, path: &Path, value: Value) {
    let (step, above) = path.0.split_last().expect("a property");
    match (step, at_path(root, above)) {
        (Step::Key(key), Value::Map(map)) => drop(map.insert(key.clone(), value)),
        (Step::Index(index), Value::List(list)) => list[*index as usize] = value,
        (step, other) => panic!("no {step:?} in {other:?}"),
    }
}

fn at_path<'v>(root: &'v mut Value, path: &[Step]) -> &'v mut Value {
    path.iter().fold(root, |at, step| match (step, at) {
        (Step::Key(key), Value::Map(map)) => map.get_mut(key).expect("an object on the way"),
        (Step::Index(index), Value::List(list)) => &mut list[*index as usize],
        (step, other) => panic!("no {step:?} in {other:?}"),
    })
}

fn byte(text: &str, character: u64) -> usize {
    text.char_indices().nth(character as usize).map_or(text.len(), |(at, _)| at)
}
