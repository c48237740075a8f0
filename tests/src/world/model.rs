//! The reference model: what was written, by whom, and what everyone must finally hold of it.

use std::collections::BTreeMap;

use sync_client_ffi::DocId;

/// Whether an edit was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// The call returned: it is there once.
    Surely,
    /// The call failed, or all that held it may be gone: it is there at most once.
    Maybe,
}

/// One edit, told from all others by its tag.
#[derive(Debug, Clone)]
pub struct Mark {
    /// The document.
    pub doc: DocId,
    /// The store that it was made in.
    pub by: usize,
    /// Whether it was made.
    pub made: Made,
    /// Whether its tag is in the list, in the text, and a key; and whether the counter was incremented.
    pub parts: Parts,
    /// The store that it was made in has lost it; others have it.
    pub remote: bool,
}

/// What an edit does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Inserts its tag into the list.
    pub list: bool,
    /// Inserts its tag into the text.
    pub text: bool,
    /// Puts its tag as a key.
    pub key: bool,
    /// Increments the counter.
    pub count: bool,
}

/// A document.
#[derive(Debug, Clone, Default)]
pub struct Paper {
    /// Whether somebody has deleted it, or tried to.
    pub deleted: Option<Made>,
    /// Whether changes of it were excluded: what they said, and what spoke of that, is in no document any more. Then only what
    /// phones agree on is looked at.
    pub excluded: bool,
}

/// All that was written.
#[derive(Debug, Default)]
pub struct Model {
    /// By their numbers.
    pub marks: Vec<Mark>,
    /// Marks that speak of a tag in another document.
    pub refers: Vec<(usize, DocId, String)>,
    /// Documents whose creation was at least tried.
    pub papers: BTreeMap<DocId, Paper>,
    /// Somebody's role has changed: what is refused then may be in quarantine.
    pub roles_changed: bool,
    /// The server has lost commits.
    pub server_lost: bool,
    /// A store lost what it had, or is gone.
    pub may_lack: bool,
    /// A store was copied to another phone before all of it was sent: what was not, each of the two sends in its own name, and
    /// nobody can tell that it is the same. So the counts say nothing.
    pub copied_unsent: bool,
}

/// The tag of a mark.
pub fn tag(number: usize) -> String {
    format!("<{number}>")
}

impl Model {
    /// An edit is made: gives its number.
    pub fn mark(&mut self, doc: DocId, by: usize, parts: Parts) -> usize {
        self.marks.push(Mark { doc, by, made: Made::Maybe, parts, remote: false });
        self.marks.len() - 1
    }

    /// Whether changes of a document were excluded.
    pub fn is_excluded(&self, doc: DocId) -> bool {
        self.papers.get(&doc).is_some_and(|paper| paper.excluded)
    }

    /// The call returned.
    pub fn made(&mut self, number: usize) {
        self.marks[number].made = Made::Surely;
    }

    /// What a store wrote from that mark on is not there any more; others have it.
    pub fn hangs_on_others(&mut self, by: usize, from: u64) {
        self.may_lack = true;
        for mark in self.marks.iter_mut().skip(from as usize).filter(|mark| mark.by == by) {
            mark.remote = true;
        }
    }

    /// The server loses commits: what nobody else is known to have may be gone.
    pub fn server_loses(&mut self) {
        self.server_lost = true;
        for mark in self.marks.iter_mut().filter(|mark| mark.remote) {
            mark.made = Made::Maybe;
        }
    }

    /// What a store wrote from that mark on may be gone.
    pub fn doubt(&mut self, by: usize, from: u64) {
        self.may_lack = true;
        for mark in self.marks.iter_mut().skip(from as usize).filter(|mark| mark.by == by) {
            mark.made = Made::Maybe;
        }
    }
}
