//! Pages of the log, and how far a space has come: each as of one moment.

use rusqlite::{Connection, params};
use sync_core::feed::FeedHead;
use sync_core::id::SpaceId;
use sync_core::limits::VECTOR_DEVICES_MAX;
use sync_core::log::{Cursor, Entry, Verdict};
use sync_core::version::FeedHeads;
use sync_core::wire::PageEntry;

use super::super::entry;
use super::super::{LogPage, PageAnswer, PageRequest, SpaceVersion, StoreError};
use super::row;

/// A page after the reader's place.
pub(super) fn page(
    connection: &mut Connection,
    space: SpaceId,
    request: &PageRequest,
) -> Result<PageAnswer, StoreError> {
    let moment = connection.transaction()?;
    let head = head(&moment, space)?;
    let since = request.since.unwrap_or_else(|| Cursor::start(space));
    if !holds(&moment, space, &head, &since)? {
        return Ok(PageAnswer::Diverged { head });
    }
    let (mut entries, mut payload_bytes, mut next) = (Vec::new(), 0, since);
    // What the reader authored itself is sent without payload, so the payload is not even read.
    let mut statement = moment.prepare_cached(
        "SELECT l.seq, l.chain, l.device_id, l.n, l.kind, l.doc_id, l.hash, l.verdict,
                CASE WHEN l.device_id = ?3 AND NOT ?4 THEN NULL
                     ELSE (SELECT p.bytes FROM payloads p WHERE p.space_id = l.space_id AND p.seq = l.seq) END
         FROM log l WHERE l.space_id = ?1 AND l.seq > ?2 ORDER BY l.seq LIMIT ?5",
    )?;
    let limit = i64::try_from(request.changes_max.max(1)).unwrap_or(i64::MAX);
    let mut rows =
        statement.query(params![space.as_bytes(), since.seq as i64, request.reader.as_bytes(), request.own, limit])?;
    while let Some(found) = rows.next()? {
        let header = row::header(found, 2)?;
        let own = header.id.device == request.reader && !request.own && header.verdict == Verdict::Applied;
        let entry = if own {
            PageEntry::own(&header)
        } else {
            let (body, bytes) = entry::body(&header, found.get(8)?)?;
            if payload_bytes + bytes > request.bytes_max && !entries.is_empty() {
                break;
            }
            payload_bytes += bytes;
            PageEntry::whole(Entry { header, body })
        };
        entries.push(entry);
        next = Cursor { seq: row::number(found, 0)?, chain: row::hash(found, 1)? };
    }
    let more = next.seq < head.seq;
    let version = if request.version && !more { Some(feeds(&moment, space)?) } else { None };
    Ok(PageAnswer::Page(LogPage { entries, payload_bytes, next, more, version }))
}

/// Where the log ends and how far every feed has come.
pub(super) fn version(connection: &mut Connection, space: SpaceId) -> Result<SpaceVersion, StoreError> {
    let moment = connection.transaction()?;
    Ok(SpaceVersion { head: head(&moment, space)?, feeds: feeds(&moment, space)? })
}

/// Where the log ends, and what its chain is at some places.
pub(super) fn places(
    connection: &mut Connection,
    space: SpaceId,
    seqs: &[u64],
) -> Result<(Cursor, Vec<Cursor>), StoreError> {
    let moment = connection.transaction()?;
    let head = head(&moment, space)?;
    let mut statement = moment.prepare_cached("SELECT chain FROM log WHERE space_id = ?1 AND seq = ?2")?;
    let mut places = Vec::with_capacity(seqs.len());
    for &seq in seqs.iter().filter(|seq| **seq <= head.seq) {
        let mut rows = statement.query(params![space.as_bytes(), seq as i64])?;
        if let Some(found) = rows.next()? {
            places.push(Cursor { seq, chain: row::hash(found, 0)? });
        }
    }
    Ok((head, places))
}

/// Where the logs of those spaces end that exist.
pub(super) fn heads(connection: &mut Connection, spaces: &[SpaceId]) -> Result<Vec<(SpaceId, Cursor)>, StoreError> {
    let moment = connection.transaction()?;
    let heads = spaces.iter().filter_map(|&space| match head(&moment, space) {
        Err(StoreError::UnknownSpace) => None,
        other => Some(other.map(|head| (space, head))),
    });
    heads.collect()
}

fn head(connection: &Connection, space: SpaceId) -> Result<Cursor, StoreError> {
    let mut statement = connection.prepare_cached("SELECT head_seq, head_chain FROM spaces WHERE space_id = ?1")?;
    let mut rows = statement.query([space.as_bytes()])?;
    let found = rows.next()?.ok_or(StoreError::UnknownSpace)?;
    Ok(Cursor { seq: row::number(found, 0)?, chain: row::hash(found, 1)? })
}

/// Whether the log has that chain at that place. A place that it does not have means that it lost its newest entries.
fn holds(connection: &Connection, space: SpaceId, head: &Cursor, place: &Cursor) -> Result<bool, StoreError> {
    if place.seq == 0 {
        return Ok(*place == Cursor::start(space));
    }
    if place.seq >= head.seq {
        return Ok(place == head);
    }
    let mut statement = connection.prepare_cached("SELECT chain FROM log WHERE space_id = ?1 AND seq = ?2")?;
    let mut rows = statement.query(params![space.as_bytes(), place.seq as i64])?;
    let found = rows.next()?.ok_or_else(|| row::corrupt("log without holes"))?;
    Ok(row::hash(found, 0)? == place.chain)
}

fn feeds(connection: &Connection, space: SpaceId) -> Result<FeedHeads, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT device_id, n, chain FROM feeds WHERE space_id = ?1 ORDER BY device_id LIMIT ?2")?;
    let mut rows = statement.query(params![space.as_bytes(), VECTOR_DEVICES_MAX as i64])?;
    let mut heads = FeedHeads::default();
    while let Some(found) = rows.next()? {
        heads.set(row::device(found, 0)?, FeedHead { n: row::number(found, 1)?, chain: row::hash(found, 2)? });
    }
    Ok(heads)
}
