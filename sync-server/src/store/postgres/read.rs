//! Pages of the log, and how far a space has come: each as of one moment.

use sync_core::feed::FeedHead;
use sync_core::id::SpaceId;
use sync_core::limits::{HEADER_BYTES, SNAPSHOT_INLINE_BYTES_MAX, VECTOR_DEVICES_MAX};
use sync_core::log::{Cursor, Entry, Header, Verdict};
use sync_core::version::FeedHeads;
use sync_core::wire::{Bytes, PageEntry, Snapshot};
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::entry;
use super::super::lifecycle::Standing;
use super::super::{LogPage, PageAnswer, PageRequest, SpaceVersion, StoreError};
use super::row::{self, uuid};
use super::session::Session;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const COMMIT: &str = "COMMIT";

const HEAD: &str = "SELECT head_seq, head_chain, closed FROM spaces WHERE space_id = $1";
const CHAIN: &str = "SELECT chain FROM log WHERE space_id = $1 AND seq = $2";
const PLACES: &str = "SELECT seq, chain FROM log WHERE space_id = $1 AND seq = ANY($2) ORDER BY seq";
const FEEDS: &str = "SELECT device_id, n, chain FROM feeds WHERE space_id = $1 ORDER BY device_id LIMIT $2";
/// The page is cut by what the headers say of sizes; payloads are read of entries that are in it, and not where the reader
/// has them, a snapshot stands in for them, or the document was deleted.
const ENTRIES: &str = "
    SELECT e.seq, e.chain, e.device_id, e.n, e.kind, e.doc_id, e.hash, e.verdict,
           CASE WHEN e.carries THEN (SELECT p.bytes FROM payloads p WHERE p.space_id = $1 AND p.seq = e.seq) END,
           e.left_out, e.stands, e.snapshot, e.size, e.heads,
           CASE WHEN e.stands AND e.inlined > 0 THEN (
               SELECT p.bytes FROM snapshot_parts p
               WHERE p.space_id = $1 AND p.doc_id = e.doc_id AND p.hash = e.snapshot AND p.part = 0) END,
           CASE WHEN e.stands THEN (SELECT g.bytes FROM grafts g WHERE g.space_id = $1 AND g.doc_id = e.doc_id) END,
           (extract(epoch FROM e.received_at) * 1000)::bigint
    FROM (SELECT m.*, row_number() OVER upwards AS place,
                 sum(CASE WHEN m.carries THEN m.payload_bytes ELSE 0 END + CASE WHEN m.stands THEN m.inlined ELSE 0 END)
                     OVER upwards AS total
          FROM (SELECT k.*, k.left_out AND coalesce(k.seq = k.stands_at, false) AS stands,
                       k.verdict = 0 AND k.kind <> 3 AND (k.device_id <> $3 OR $4) AND NOT k.left_out AS carries,
                       CASE WHEN k.size <= least($6, $9) THEN k.size ELSE 0 END AS inlined
                FROM (SELECT l.*, s.seq AS stands_at, s.hash AS snapshot, s.size, s.heads,
                             l.kind = 2 AND l.verdict = 0 AND (coalesce(d.deleted, false) OR coalesce(l.seq < d.epoch_seq, false) OR coalesce(
                                 l.seq <= s.seq AND (s.below_seq > $7 OR ($7 = 0 AND s.size + $8 * s.changes < s.payload_bytes)),
                                 false)) AS left_out
                      FROM (SELECT seq, chain, device_id, n, kind, doc_id, hash, verdict, payload_bytes, received_at
                            FROM log WHERE space_id = $1 AND seq > $2 ORDER BY seq LIMIT $5) l
                      LEFT JOIN LATERAL (
                          SELECT deleted_seq IS NOT NULL AS deleted, epoch_seq FROM documents
                          WHERE space_id = $1 AND doc_id = l.doc_id LIMIT 1) d ON true
                      LEFT JOIN LATERAL (
                          SELECT seq, hash, size, heads, below_seq, changes, payload_bytes FROM snapshots
                          WHERE space_id = $1 AND doc_id = l.doc_id LIMIT 1) s ON true) k) m
          WINDOW upwards AS (ORDER BY m.seq ROWS UNBOUNDED PRECEDING)) e
    WHERE e.place = 1 OR e.total <= $6
    ORDER BY e.seq";

/// A page after the reader's place. One round trip; a second one where the version is wanted.
pub(super) async fn page(client: &Session, space: SpaceId, request: &PageRequest) -> Result<PageAnswer, StoreError> {
    let id = uuid(space.as_bytes());
    let since = request.since.unwrap_or_else(|| Cursor::start(space));
    let reader = uuid(request.reader.as_bytes());
    let seq = since.seq as i64;
    let entries_max = i64::try_from(request.changes_max.max(1)).unwrap_or(i64::MAX);
    let bytes_max = i64::try_from(request.bytes_max).unwrap_or(i64::MAX);
    let base = request.snapshots.map(|base| i64::try_from(base).unwrap_or(i64::MAX));
    let (header_bytes, inline_max) = (HEADER_BYTES as i64, SNAPSHOT_INLINE_BYTES_MAX as i64);
    let wanted: [(&(dyn ToSql + Sync), Type); 9] = [
        (&id, Type::UUID),
        (&seq, Type::INT8),
        (&reader, Type::UUID),
        (&request.own, Type::BOOL),
        (&entries_max, Type::INT8),
        (&bytes_max, Type::INT8),
        (&base, Type::INT8),
        (&header_bytes, Type::INT8),
        (&inline_max, Type::INT8),
    ];
    let ((), head, chain, entries, ()) = try_join!(
        biased;
        client.batch_execute(BEGIN),
        async { client.query_typed(HEAD, &[(&id, Type::UUID)]).await },
        async { client.query_typed(CHAIN, &[(&id, Type::UUID), (&seq, Type::INT8)]).await },
        client.query_typed(ENTRIES, &wanted),
        async { if request.version { Ok(()) } else { client.batch_execute(COMMIT).await } },
    )?;
    let answer = read_page(space, request, since, [&head, &chain, &entries]);
    if !request.version {
        return answer;
    }
    let at_end = matches!(&answer, Ok(PageAnswer::Page(page)) if !page.more);
    let devices_max = if at_end { VECTOR_DEVICES_MAX as i64 } else { 0 };
    let (feeds, ()) = try_join!(
        biased;
        async { client.query_typed(FEEDS, &[(&id, Type::UUID), (&devices_max, Type::INT8)]).await },
        client.batch_execute(COMMIT),
    )?;
    let mut answer = answer?;
    if let PageAnswer::Page(page) = &mut answer
        && at_end
    {
        page.version = Some(feeds_of(&feeds)?);
    }
    Ok(answer)
}

/// What the rows say: the head, the chain at the reader's place, the entries after it.
fn read_page(
    space: SpaceId,
    request: &PageRequest,
    since: Cursor,
    [head, chain, found]: [&[Row]; 3],
) -> Result<PageAnswer, StoreError> {
    let head = head_of(head)?.ok_or(StoreError::UnknownSpace)?;
    if !holds(space, &head, &since, chain)? {
        return Ok(PageAnswer::Diverged { head });
    }
    let (mut entries, mut received_ms) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
    let (mut snapshots, mut payload_bytes, mut next) = (Vec::new(), 0, since);
    for found in found {
        let header = row::header(found, 2)?;
        let own = header.id.device == request.reader && !request.own && header.verdict == Verdict::Applied;
        entries.push(if own {
            PageEntry::own(&header)
        } else if row::get(found, 9)? {
            PageEntry::whole(Entry { header, body: None })
        } else {
            let Some((body, bytes)) = entry::body(&header, row::get(found, 8)?)? else {
                return request.without_payload();
            };
            payload_bytes += bytes;
            PageEntry::whole(Entry { header, body })
        });
        received_ms.push(row::get::<i64>(found, 16)?.max(0).cast_unsigned());
        next = cursor(found, 0)?;
        if row::get(found, 10)? {
            let snapshot = snapshot(found, &header, next.seq)?;
            payload_bytes += snapshot.bytes.as_ref().map_or(0, |bytes| bytes.0.len());
            snapshots.push(snapshot);
        }
    }
    let more = next.seq < head.seq;
    Ok(PageAnswer::Page(LogPage { entries, received_ms, snapshots, payload_bytes, next, more, version: None }))
}

/// The snapshot of an entry's document, which ends in that entry, with its bytes where they are few.
fn snapshot(found: &Row, header: &Header, seq: u64) -> Result<Snapshot, StoreError> {
    let (hash, size, heads) = (row::hash(found, 11)?, row::number(found, 12)?, row::hashes(found, 13)?);
    let bytes = row::get::<Option<Vec<u8>>>(found, 14)?.map(Bytes);
    let grafts = row::get::<Option<Vec<u8>>>(found, 15)?.map(Bytes);
    Ok(Snapshot { doc: header.doc, seq, hash, size, heads, bytes, grafts })
}

/// Where the log ends and how far every feed has come.
pub(super) async fn version(client: &Session, space: SpaceId) -> Result<SpaceVersion, StoreError> {
    let id = uuid(space.as_bytes());
    let devices_max = VECTOR_DEVICES_MAX as i64;
    let ((), head, feeds, ()) = try_join!(
        biased;
        client.batch_execute(BEGIN),
        async { client.query_typed(HEAD, &[(&id, Type::UUID)]).await },
        async { client.query_typed(FEEDS, &[(&id, Type::UUID), (&devices_max, Type::INT8)]).await },
        client.batch_execute(COMMIT),
    )?;
    let head = head_of(&head)?.ok_or(StoreError::UnknownSpace)?;
    Ok(SpaceVersion { head, feeds: feeds_of(&feeds)? })
}

/// Where the log ends, and what its chain is at some places.
pub(super) async fn places(
    client: &Session,
    space: SpaceId,
    seqs: &[u64],
) -> Result<(Cursor, Vec<Cursor>), StoreError> {
    let id = uuid(space.as_bytes());
    // No log is that long.
    let seqs: Vec<i64> = seqs.iter().filter_map(|seq| i64::try_from(*seq).ok()).collect();
    let ((), head, places, ()) = try_join!(
        biased;
        client.batch_execute(BEGIN),
        async { client.query_typed(HEAD, &[(&id, Type::UUID)]).await },
        async { client.query_typed(PLACES, &[(&id, Type::UUID), (&seqs, Type::INT8_ARRAY)]).await },
        client.batch_execute(COMMIT),
    )?;
    let head = head_of(&head)?.ok_or(StoreError::UnknownSpace)?;
    let places = places.iter().map(|found| cursor(found, 0)).collect::<Result<_, _>>()?;
    Ok((head, places))
}

/// Where the logs of those spaces end that exist.
pub(super) async fn heads(client: &Session, spaces: &[SpaceId]) -> Result<Vec<(SpaceId, Cursor)>, StoreError> {
    let ids: Vec<_> = spaces.iter().map(|space| uuid(space.as_bytes())).collect();
    let found = client
        .query_typed(
            "SELECT space_id, head_seq, head_chain FROM spaces WHERE space_id = ANY($1) AND closed = 0",
            &[(&ids, Type::UUID_ARRAY)],
        )
        .await?;
    found.iter().map(|found| Ok((row::space(found, 0)?, cursor(found, 1)?))).collect()
}

fn cursor(found: &Row, at: usize) -> Result<Cursor, StoreError> {
    Ok(Cursor { seq: row::number(found, at)?, chain: row::hash(found, at + 1)? })
}

fn head_of(found: &[Row]) -> Result<Option<Cursor>, StoreError> {
    let Some(found) = found.first() else { return Ok(None) };
    Standing::from_number(row::get::<i16>(found, 2)?.into())?.pass()?;
    cursor(found, 0).map(Some)
}

/// Whether the log has that chain at that place. A place that it does not have means that it lost its newest entries.
fn holds(space: SpaceId, head: &Cursor, place: &Cursor, chain: &[Row]) -> Result<bool, StoreError> {
    if place.seq == 0 {
        return Ok(*place == Cursor::start(space));
    }
    if place.seq >= head.seq {
        return Ok(place == head);
    }
    let found = chain.first().ok_or_else(|| row::corrupt("log without holes"))?;
    Ok(row::hash(found, 0)? == place.chain)
}

fn feeds_of(found: &[Row]) -> Result<FeedHeads, StoreError> {
    let mut heads = FeedHeads::default();
    for found in found {
        heads.set(row::device(found, 0)?, FeedHead { n: row::number(found, 1)?, chain: row::hash(found, 2)? });
    }
    Ok(heads)
}
