//! When the server took a document's changes, as far as it said so.

use sync_core::id::{DocId, Hash, SpaceId};

use super::{Engine, Result};

impl Engine {
    /// In milliseconds since 1970, one for each change as it stands in the document.
    pub(in crate::client) fn times(&self, space: SpaceId, doc: DocId, of: &[Hash]) -> Result<Vec<Option<u64>>> {
        let open = self.documents.get(&(space, doc));
        let sealed: Vec<Hash> = of.iter().map(|hash| open.map_or(*hash, |open| open.grafts.sealed(*hash))).collect();
        let times = self.store.read().times(space, doc, &sealed)?;
        Ok(sealed.iter().map(|hash| Some(times.get(hash)?.saturating_mul(1_000))).collect())
    }
}
