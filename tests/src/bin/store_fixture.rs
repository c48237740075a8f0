//! Writes a store with something of everything in it, as the client of today does, to be kept before its schema changes:
//! `cargo run -p sync-tests --bin store_fixture -- FILE`. See `tests/fixtures/client/README.md`.

use std::path::{Path, PathBuf};

use sync_client_ffi::{Client, Expand, Value};
use sync_tests::rig::{PATIENCE, Rig, device};

fn main() {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [path] = &arguments[..] else { panic!("the file to write") };
    let rig = Rig::start();
    let phone = write(&rig, path);
    drop(rig);
    // As a kill leaves it: nobody closes the store.
    std::mem::forget(phone);
}

fn write(rig: &Rig, path: &Path) -> Client {
    let open = |number, path: &Path| {
        let token = rig.token("ann", device(number));
        Client::builder(path).server(rig.url()).token(token).live(false).open().expect("a store")
    };
    let (phone, other) = (open(1, path), open(2, &rig.folder().join("other")));
    let space = phone.personal_space();
    let sync = |of: &Client| of.sync_once(PATIENCE).expect("an exchange");

    // Sealed, sent, and written on by the other device; deleted by either.
    let shared = phone.create(space, "notes").expect("a document");
    let first = shared.edit(|edit| {
        edit.put("title", "shared").put("body", Value::Text(String::new())).put("likes", Value::Counter(1));
        edit.put("items", Value::List(vec!["milk".into(), "salt".into()]));
    });
    let marked = shared.edit(|edit| {
        edit.splice("body", 0, 0, "bread and butter").mark("body", 0..5, "bold", true, Expand::After);
    });
    let doomed = phone.create(space, "notes").expect("a document");
    let of_doomed = doomed.edit(|edit| _ = edit.put("title", "doomed"));
    let gone = phone.create(space, "tasks").expect("a document");
    let of_gone = gone.edit(|edit| _ = edit.put("title", "deleted here"));
    phone.delete(space, gone.id()).expect("a deletion");
    sync(&phone);
    sync(&other);
    let theirs = other.open_doc(space, shared.id()).expect("a document");
    let on_theirs = theirs.edit(|edit| _ = edit.splice("body", 16, 0, ", and jam").increment("likes", 4));
    other.delete(space, doomed.id()).expect("a deletion");
    let task = other.create(space, "tasks").expect("a document");
    let on_task = task.edit(|edit| _ = edit.put("title", "of the other"));
    sync(&other);
    // Refused, since the document was deleted meanwhile.
    let late = doomed.edit(|edit| _ = edit.put("title", "written too late"));
    sync(&phone);

    // Sealed and not sent; and not even sealed, in two documents.
    let sealed = shared.edit(|edit| _ = edit.increment("likes", 10).put("unsent", 1));
    let fresh = phone.create(space, "notes").expect("a document");
    let on_fresh = fresh.edit(|edit| _ = edit.put("title", "fresh").put("body", Value::Text(String::new())));
    for (at, letter) in "typed".chars().enumerate() {
        fresh.edit(|edit| _ = edit.splice("body", at as u64, 0, letter.to_string())).expect("an edit");
    }
    let open = shared.edit(|edit| _ = edit.splice("body", 0, 5, "toast"));
    for edit in [first, marked, of_doomed, of_gone, on_theirs, on_task, late, sealed, on_fresh, open] {
        edit.expect("an edit");
    }
    phone
}
