//! A document with a text and a counter, which says how many changes of it there are.

use sync_client_ffi::{Client, Doc, Value};

/// A new one, in the personal space and in a change of its own.
pub fn new_doc(phone: &Client) -> Doc {
    let doc = phone.create(phone.personal_space(), "notes").expect("a document");
    doc.edit(|edit| {
        edit.put("body", Value::Text(String::new())).put("count", Value::Counter(0));
    })
    .expect("an edit");
    doc.seal().expect("a change");
    doc
}

/// So many changes, each with that text behind what is there.
pub fn write(doc: &Doc, changes: u64, text: &str) {
    for _ in 0..changes {
        let at = doc.length("body").expect("a length").expect("a text");
        doc.edit(|edit| {
            edit.splice("body", at, 0, text).increment("count", 1);
        })
        .expect("an edit");
        doc.seal().expect("a change");
    }
}
