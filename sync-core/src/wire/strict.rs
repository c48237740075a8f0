//! Places in a feed or log as requests carry them: an unknown field is refused, where a response's is ignored.

use serde::{Deserialize, Deserializer};

use crate::feed::FeedHead;
use crate::id::Hash;
use crate::log::Cursor;

/// A place in a feed: its last item, 0 before the first, and the chain's value there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PlaceInFeed))]
pub(super) struct StrictHead {
    n: u64,
    chain: Hash,
}

/// A place in the log: the last entry seen, 0 before the first, and the chain's value there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PlaceInLog))]
pub(super) struct StrictCursor {
    seq: u64,
    chain: Hash,
}

pub(super) fn head<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FeedHead, D::Error> {
    StrictHead::deserialize(deserializer).map(|StrictHead { n, chain }| FeedHead { n, chain })
}

pub(super) fn cursor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cursor>, D::Error> {
    let cursor = Option::<StrictCursor>::deserialize(deserializer)?;
    Ok(cursor.map(|StrictCursor { seq, chain }| Cursor { seq, chain }))
}

pub(super) fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cursor, D::Error> {
    StrictCursor::deserialize(deserializer).map(|StrictCursor { seq, chain }| Cursor { seq, chain })
}
