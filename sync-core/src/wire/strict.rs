//! What requests carry, where they are stricter than responses: an unknown field of a place in a feed or log is refused, where
//! a response's is ignored; and no item of a feed is an exclusion.

use serde::{Deserialize, Deserializer};

use crate::feed::{FeedHead, ItemKind};
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

/// What an item of a feed does to its document.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KindOfItem))]
pub(super) enum StrictKind {
    Create,
    Change,
    Delete,
    Epoch,
}

pub(super) fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ItemKind, D::Error> {
    Ok(match StrictKind::deserialize(deserializer)? {
        StrictKind::Create => ItemKind::Create,
        StrictKind::Change => ItemKind::Change,
        StrictKind::Delete => ItemKind::Delete,
        StrictKind::Epoch => ItemKind::Epoch,
    })
}
