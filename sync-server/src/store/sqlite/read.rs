//! Pages of the log, and how far a space has come: each as of one moment.

use rusqlite::{Connection, params};
use sync_core::feed::FeedHead;
use sync_core::id::SpaceId;
use sync_core::limits::{HEADER_BYTES, SNAPSHOT_INLINE_BYTES_MAX, VECTOR_DEVICES_MAX};
use sync_core::log::{Cursor, Entry, Header, Verdict};
use sync_core::version::FeedHeads;
use sync_core::wire::{Bytes, PageEntry, Snapshot};

use super::super::entry;
use super::super::lifecycle::Standing;
use super::super::{LogPage, PageAnswer, PageRequest, SpaceVersion, StoreError};
use super::row;

/// What is read of each entry. A payload is not even read where the reader has it, where a snapshot or an epoch stands in for it, or where
/// its document was deleted. The column behind it says which: 0 none of these, 1 a deleted document, 2 a snapshot.
const ENTRIES: &str = "
    SELECT e.seq, e.chain, e.device_id, e.n, e.kind, e.doc_id, e.hash, e.verdict,
           CASE WHEN e.left_out <> 0 OR (e.device_id = ?3 AND NOT ?4) THEN NULL
                ELSE (SELECT p.bytes FROM payloads p WHERE p.space_id = ?1 AND p.seq = e.seq) END,
           e.left_out, e.stands_at, e.received_ms
    FROM (SELECT l.seq, l.chain, l.device_id, l.n, l.kind, l.doc_id, l.hash, l.verdict, l.received_ms, s.seq AS stands_at,
                 CASE WHEN l.kind <> 2 OR l.verdict <> 0 THEN 0
                      WHEN d.deleted_seq IS NOT NULL OR l.seq < d.epoch_seq THEN 1
                      WHEN ?6 IS NOT NULL AND l.seq <= s.seq
                           AND (s.below_seq > ?6 OR (?6 = 0 AND s.size + ?7 * s.changes < s.payload_bytes)) THEN 2
                      ELSE 0 END AS left_out
          FROM log l
          LEFT JOIN documents d ON d.space_id = l.space_id AND d.doc_id = l.doc_id
          LEFT JOIN snapshots s ON s.space_id = l.space_id AND s.doc_id = l.doc_id
          WHERE l.space_id = ?1 AND l.seq > ?2 ORDER BY l.seq LIMIT ?5) e
    ORDER BY e.seq";

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
    let (mut entries, mut received_ms) = (Vec::new(), Vec::new());
    let (mut snapshots, mut payload_bytes, mut next) = (Vec::new(), 0, since);
    let mut statement = moment.prepare_cached(ENTRIES)?;
    let limit = i64::try_from(request.changes_max.max(1)).unwrap_or(i64::MAX);
    let base = request.snapshots.map(|base| i64::try_from(base).unwrap_or(i64::MAX));
    let mut rows = statement.query(params![
        space.as_bytes(),
        (since.seq + u64::from(sync_core::mutation!("page-off-by-one") && since.seq % 4 == 3)) as i64,
        request.reader.as_bytes(),
        request.own,
        limit,
        base,
        HEADER_BYTES as i64,
    ])?;
    while let Some(found) = rows.next()? {
        let header = row::header(found, 2)?;
        let seq = row::number(found, 0)?;
        let own = header.id.device == request.reader && !request.own && header.verdict == Verdict::Applied;
        let left_out = found.get::<_, i64>(9)?;
        let snapshot = if left_out == 2 && found.get::<_, Option<i64>>(10)? == Some(seq as i64) {
            Some(snapshot(&moment, space, &header, request.bytes_max)?)
        } else {
            None
        };
        let (entry, bytes) = if own {
            (PageEntry::own(&header), 0)
        } else if left_out != 0 {
            (PageEntry::whole(Entry { header, body: None }), 0)
        } else {
            let Some((body, bytes)) = entry::body(&header, found.get(8)?)? else {
                return request.without_payload();
            };
            (PageEntry::whole(Entry { header, body }), bytes)
        };
        let bytes = bytes + snapshot.as_ref().and_then(|of| of.bytes.as_ref()).map_or(0, |bytes| bytes.0.len());
        if payload_bytes + bytes > request.bytes_max && !entries.is_empty() {
            break;
        }
        payload_bytes += bytes;
        entries.push(entry);
        received_ms.push(found.get::<_, i64>(11)?.max(0).cast_unsigned());
        snapshots.extend(snapshot);
        next = Cursor { seq, chain: row::hash(found, 1)? };
    }
    let more = next.seq < head.seq;
    let version = if request.version && !more { Some(feeds(&moment, space)?) } else { None };
    Ok(PageAnswer::Page(LogPage { entries, received_ms, snapshots, payload_bytes, next, more, version }))
}

/// The snapshot of an entry's document, with its bytes where they are few.
fn snapshot(
    connection: &Connection,
    space: SpaceId,
    header: &Header,
    bytes_max: usize,
) -> Result<Snapshot, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT seq, hash, size, heads FROM snapshots WHERE space_id = ?1 AND doc_id = ?2")?;
    let mut rows = statement.query(params![space.as_bytes(), header.doc.as_bytes()])?;
    let found = rows.next()?.ok_or_else(|| row::corrupt("snapshot"))?;
    let (seq, hash, size) = (row::number(found, 0)?, row::hash(found, 1)?, row::number(found, 2)?);
    let mut snapshot =
        Snapshot { doc: header.doc, seq, hash, size, heads: row::hashes(found, 3)?, bytes: None, grafts: None };
    snapshot.grafts = super::snapshots::grafts(connection, space, header.doc)?.map(Bytes);
    if size <= SNAPSHOT_INLINE_BYTES_MAX.min(bytes_max) as u64 {
        let mut statement = connection.prepare_cached(
            "SELECT bytes FROM snapshot_parts WHERE space_id = ?1 AND doc_id = ?2 AND hash = ?3 AND part = 0",
        )?;
        let key = params![space.as_bytes(), header.doc.as_bytes(), hash.0];
        snapshot.bytes = Some(Bytes(statement.query_row(key, |found| found.get(0))?));
    }
    Ok(snapshot)
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
        Err(StoreError::UnknownSpace | StoreError::DeletedSpace | StoreError::Busy) => None,
        other => Some(other.map(|head| (space, head))),
    });
    heads.collect()
}

fn head(connection: &Connection, space: SpaceId) -> Result<Cursor, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT head_seq, head_chain, closed FROM spaces WHERE space_id = ?1")?;
    let mut rows = statement.query([space.as_bytes()])?;
    let found = rows.next()?.ok_or(StoreError::UnknownSpace)?;
    Standing::from_number(found.get(2)?)?.pass()?;
    Ok(Cursor { seq: row::number(found, 0)?, chain: row::hash(found, 1)? })
}

/// Whether the log has that chain at that place. A place that it does not have means that it lost its newest entries.
fn holds(connection: &Connection, space: SpaceId, head: &Cursor, place: &Cursor) -> Result<bool, StoreError> {
    if sync_core::mutation!("cursor-unchecked") {
        return Ok(true);
    }
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
