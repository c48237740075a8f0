//! What is written into the notebook.

use sync_client_ffi::{Client, DocId, SpaceId, Value};
use sync_tests::rig::Seeded;

use super::PATIENCE;

const DOCUMENTS: usize = 200;
/// Sessions after which there is one more document, until there are all.
const SESSIONS_A_DOCUMENT: u64 = 12;
const LETTERS: &[u8] = b"eeeeeetttttaaaaooooiiiinnnnsssshhhrrrddlluucmfwygpbvk        ";

pub struct Notebook {
    space: SpaceId,
    documents: Vec<DocId>,
    sessions: u64,
    pub edits: u64,
}

impl Notebook {
    pub fn new(space: SpaceId) -> Self {
        Self { space, documents: Vec::new(), sessions: 0, edits: 0 }
    }

    /// Somebody writes for a while: into the newest document, or into one that was there before. Live, each edit is a change of
    /// its own.
    pub fn session(&mut self, phone: &Client, edits: u64, live: bool, grows: bool, random: &mut Seeded) {
        if self.sessions.is_multiple_of(SESSIONS_A_DOCUMENT) && self.documents.len() < DOCUMENTS {
            let doc = phone.create(self.space, "notes").expect("a document");
            let title = format!("Note {}", self.documents.len() + 1);
            doc.edit(|edit| {
                edit.put("title", title).put("body", Value::Text(String::new())).put("done", false);
            })
            .expect("an edit");
            self.documents.push(doc.id());
        }
        self.sessions += 1;
        self.edits += edits;
        let known = self.documents.len() as u64;
        let at = if random.below(2) == 0 { known - 1 } else { random.below(known) };
        // Who has not synced since may not know the newest.
        let doc = phone.open_doc(self.space, self.documents[at as usize]);
        let Ok(doc) = doc.or_else(|_| phone.open_doc(self.space, self.documents[0])) else { return };
        let mut length = doc.length("body").ok().flatten().unwrap_or(0);
        let mut cursor = random.below(length + 1);
        for _ in 0..edits {
            // Of a hundred: what is typed, what is deleted, and the rest are ticks of a box.
            let (typed, deleted) = if grows { (75, 96) } else { (49, 98) };
            let what = random.below(100);
            if what < typed || length == 0 {
                let letter = char::from(LETTERS[random.below(LETTERS.len() as u64) as usize]);
                doc.edit(|edit| _ = edit.splice("body", cursor, 0, letter.to_string())).expect("an edit");
                cursor += 1;
                length += 1;
            } else if what < deleted {
                cursor = if cursor == 0 { length } else { cursor } - 1;
                doc.edit(|edit| _ = edit.splice("body", cursor, 1, "")).expect("an edit");
                length -= 1;
            } else {
                let done = random.below(2) == 0;
                doc.edit(|edit| _ = edit.put("done", done)).expect("an edit");
            }
            // People look elsewhere now and then.
            if random.below(60) == 0 {
                cursor = random.below(length + 1);
            }
            if live {
                doc.seal().expect("a change");
            }
        }
    }

    /// Bytes of all documents as JSON.
    pub fn text_bytes(&self, phone: &Client) -> u64 {
        self.texts(phone).iter().map(|text| text.len() as u64).sum()
    }

    /// All documents as JSON.
    pub fn texts(&self, phone: &Client) -> Vec<String> {
        let root = || sync_client_ffi::path![];
        let text = |doc: &DocId| {
            let doc = phone.open_doc(self.space, *doc).expect("a document that was synced");
            doc.json(root()).expect("JSON").expect("a root")
        };
        self.documents.iter().map(text).collect()
    }

    /// Begins all documents anew, and gives how many that were.
    pub fn begin_anew(&self, phone: &Client) -> usize {
        let begins = |doc: &&DocId| {
            let doc = phone.open_doc(self.space, **doc).expect("a document that was synced");
            let begun = doc.start_epoch().is_ok();
            // The next one waits until this one is on the server.
            phone.sync_once(PATIENCE).expect("an exchange");
            begun
        };
        self.documents.iter().filter(begins).count()
    }

    /// How many epochs a phone knows of.
    pub fn epochs(&self, phone: &Client) -> u64 {
        let epoch = |doc: &DocId| phone.open_doc(self.space, *doc).and_then(|doc| doc.epoch()).expect("a document");
        self.documents.iter().map(epoch).sum()
    }
}
