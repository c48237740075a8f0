//! What a phone shows of a document, as the model counts it.

use std::collections::BTreeMap;

use sync_client_ffi::stepped::Phone;
use sync_client_ffi::{ClientError, Doc, DocId, SpaceId, Value, path};

/// The tags of a document, and how often each is there.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Seen {
    /// In the list.
    pub list: BTreeMap<String, u64>,
    /// In the text.
    pub text: BTreeMap<String, u64>,
    /// As keys.
    pub keys: BTreeMap<String, u64>,
    /// References: document and tag.
    pub refers: Vec<(DocId, String)>,
    /// The counter.
    pub count: Option<i64>,
}

impl Seen {
    /// Whether a tag is there in any way.
    pub fn has(&self, tag: &str) -> bool {
        self.list.contains_key(tag) || self.text.contains_key(tag) || self.keys.contains_key(tag)
    }

    /// Reads a document.
    pub fn of(doc: &Doc) -> Result<Self, ClientError> {
        let mut seen = Self::default();
        let Some(Value::Map(root)) = doc.get(path![])? else { return Ok(seen) };
        for (key, value) in root {
            match (key.as_str(), value) {
                ("list", Value::List(list)) => {
                    for value in list {
                        if let Value::Str(tag) = value {
                            *seen.list.entry(tag).or_default() += 1;
                        }
                    }
                }
                ("text", Value::Text(text)) => {
                    for tag in text.split_inclusive('>').filter(|part| part.starts_with('<')) {
                        *seen.text.entry(tag.to_owned()).or_default() += 1;
                    }
                }
                ("n", Value::Counter(count)) => seen.count = Some(count),
                (key, Value::Str(of)) if key.starts_with('<') => {
                    if let Some((doc, tag)) = of.split_once(' ')
                        && let Ok(doc) = doc.parse()
                    {
                        seen.refers.push((doc, tag.to_owned()));
                    }
                    seen.keys.insert(key.to_owned(), 1);
                }
                (key, _) if key.starts_with('<') => {
                    seen.keys.insert(key.to_owned(), 1);
                }
                _ => {}
            }
        }
        Ok(seen)
    }
}

/// Documents that a phone lists, in order.
pub fn docs(phone: &Phone, space: SpaceId) -> Vec<DocId> {
    let listed = phone.client().documents(space, None).unwrap_or_default();
    let mut docs: Vec<DocId> = listed.into_iter().map(|info| info.id).collect();
    docs.sort_unstable();
    docs
}
