//! What is said to the database about snapshots.

pub(super) const DOCUMENTS: &str = "
    SELECT d.space_id, d.doc_id, d.deleted_seq IS NOT NULL, d.purged, d.tail_changes, d.tail_bytes,
           s.seq, s.hash, s.size, s.heads, s.changes, s.payload_bytes, s.below_seq, s.dropped_seq,
           p.horizon_seq, p.head_seq, u.failures, u.again_ms, d.epoch_seq, d.epoch_cleared,
           EXISTS (SELECT 1 FROM grafts g WHERE g.space_id = d.space_id AND g.doc_id = d.doc_id)
    FROM (SELECT * FROM documents o WHERE (space_id, doc_id) > ($1, $2)
              AND EXISTS (SELECT 1 FROM spaces c WHERE c.space_id = o.space_id AND c.closed = 0)
          ORDER BY space_id, doc_id LIMIT $3) d
    LEFT JOIN LATERAL (SELECT * FROM snapshots s WHERE s.space_id = d.space_id AND s.doc_id = d.doc_id LIMIT 1) s ON true
    LEFT JOIN LATERAL (SELECT * FROM spaces p WHERE p.space_id = d.space_id LIMIT 1) p ON true
    LEFT JOIN LATERAL (SELECT * FROM unfolded u WHERE u.space_id = d.space_id AND u.doc_id = d.doc_id LIMIT 1) u ON true
    ORDER BY d.space_id, d.doc_id";
pub(super) const DOCUMENT: &str = "
    SELECT d.space_id, d.doc_id, d.deleted_seq IS NOT NULL, d.purged, d.tail_changes, d.tail_bytes,
           s.seq, s.hash, s.size, s.heads, s.changes, s.payload_bytes, s.below_seq, s.dropped_seq,
           p.horizon_seq, p.head_seq, u.failures, u.again_ms, d.epoch_seq, d.epoch_cleared,
           EXISTS (SELECT 1 FROM grafts g WHERE g.space_id = d.space_id AND g.doc_id = d.doc_id)
    FROM documents d
    LEFT JOIN snapshots s ON s.space_id = d.space_id AND s.doc_id = d.doc_id
    LEFT JOIN spaces p ON p.space_id = d.space_id
    LEFT JOIN unfolded u ON u.space_id = d.space_id AND u.doc_id = d.doc_id
    WHERE d.space_id = $1 AND d.doc_id = $2";

/// By the log's own order, or by the document's entries, whichever are fewer: each inner query has one index to go by.
pub(super) const CHANGES_OF_MANY: &str = "
    SELECT seq, payload_bytes::bigint FROM log
    WHERE space_id = $1 AND doc_id::text = $2 AND kind = 2 AND verdict = 0 AND seq > $3 AND seq <= $4
    ORDER BY seq LIMIT $5";
pub(super) const CHANGES_OF_FEW: &str = "
    SELECT seq, payload_bytes::bigint FROM log
    WHERE space_id = $1 AND doc_id = $2::uuid AND kind = 2 AND verdict = 0 AND seq + 0 > $3 AND seq + 0 <= $4
    ORDER BY seq LIMIT $5";
pub(super) const CHANGES_AT: &str = "
    SELECT l.seq, l.hash, l.deps, (SELECT p.bytes FROM payloads p WHERE p.space_id = $1 AND p.seq = l.seq),
           substr(l.actor, 1, 8) = $3 AND EXISTS (
               SELECT 1 FROM log b WHERE b.space_id = $1 AND b.doc_id = l.doc_id AND b.hash = l.hash
               AND b.kind = 2 AND b.verdict = 0 AND b.seq < l.seq),
           l.device_id, l.n
    FROM log l WHERE l.space_id = $1 AND l.seq = ANY($2) ORDER BY l.seq";
pub(super) const COUNT_TAIL: &str = "
    UPDATE documents SET tail_changes = $3, tail_bytes = $4
    WHERE space_id = $1 AND doc_id = $2 AND tail_changes IS NULL";
pub(super) const PART: &str =
    "SELECT bytes FROM snapshot_parts WHERE space_id = $1 AND doc_id = $2 AND hash = $3 AND part = $4";
pub(super) const GRAFTS: &str = "SELECT bytes FROM grafts WHERE space_id = $1 AND doc_id = $2";
pub(super) const PUT_PART: &str = "
    INSERT INTO snapshot_parts (space_id, doc_id, hash, part, bytes) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (space_id, doc_id, hash, part) DO UPDATE SET bytes = excluded.bytes";
/// Who deletes the document waits behind this.
pub(super) const LOCK_DOCUMENT: &str =
    "SELECT deleted_seq IS NOT NULL FROM documents WHERE space_id = $1 AND doc_id = $2 FOR NO KEY UPDATE";
pub(super) const STANDS: &str = "
    SELECT (SELECT hash FROM snapshots WHERE space_id = $1 AND doc_id = $2) IS NOT DISTINCT FROM $3
           AND EXISTS (SELECT 1 FROM documents WHERE space_id = $1 AND doc_id = $2 AND epoch_seq < $4)
           AND EXISTS (SELECT 1 FROM log WHERE space_id = $1 AND seq = $4 AND doc_id = $2 AND hash = $5
                       AND kind = 2 AND verdict = 0)";
pub(super) const ADOPT: &str = "
    INSERT INTO snapshots (space_id, doc_id, seq, hash, size, heads, changes, payload_bytes, below_seq, dropped_seq)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0)
    ON CONFLICT (space_id, doc_id) DO UPDATE SET
        seq = excluded.seq, hash = excluded.hash, size = excluded.size, heads = excluded.heads,
        changes = excluded.changes, payload_bytes = excluded.payload_bytes, made_at = now()";
pub(super) const SHORTEN_TAIL: &str = "
    UPDATE documents SET tail_changes = greatest(0, tail_changes - $3), tail_bytes = greatest(0, tail_bytes - $4)
    WHERE space_id = $1 AND doc_id = $2";
pub(super) const FOLDED: &str = "DELETE FROM unfolded WHERE space_id = $1 AND doc_id = $2";
pub(super) const CLEAR_PARTS: &str = "
    DELETE FROM snapshot_parts WHERE space_id = $1 AND doc_id = $2 AND (hash, part) IN (
        SELECT hash, part FROM snapshot_parts
        WHERE space_id = $1 AND doc_id = $2 AND hash IS DISTINCT FROM
              (SELECT hash FROM snapshots WHERE space_id = $1 AND doc_id = $2)
        LIMIT $3)";
pub(super) const COVERED: &str = "
    SELECT EXISTS (SELECT 1 FROM documents WHERE space_id = $1 AND doc_id = $2 
                   AND (deleted_seq IS NOT NULL OR epoch_seq > $3))
        OR EXISTS (SELECT 1 FROM snapshots WHERE space_id = $1 AND doc_id = $2 AND seq >= $3)";
pub(super) const ANNOUNCE: &str =
    "UPDATE snapshots SET below_seq = greatest(below_seq, $3) WHERE space_id = $1 AND doc_id = $2";
pub(super) const DROP: &str = "DELETE FROM payloads WHERE space_id = $1 AND seq = ANY($2) AND seq <= $3";
pub(super) const DROPPED: &str = "
    UPDATE snapshots SET dropped_seq = greatest(dropped_seq, least(below_seq, $3)) WHERE space_id = $1 AND doc_id = $2";
pub(super) const FORGET: &str = "
    DELETE FROM snapshots WHERE space_id = $1 AND doc_id = $2 AND EXISTS (
        SELECT 1 FROM documents WHERE space_id = $1 AND doc_id = $2 AND deleted_seq IS NOT NULL)";
pub(super) const PURGED: &str = "
    UPDATE documents SET purged = true, tail_changes = 0, tail_bytes = 0, purged_ms = coalesce(purged_ms, $3)
    WHERE space_id = $1 AND doc_id = $2 AND deleted_seq IS NOT NULL";
pub(super) const FORGET_GRAFTS: &str = "DELETE FROM grafts WHERE space_id = $1 AND doc_id = $2";
pub(super) const EPOCH_CLEARED: &str =
    "UPDATE documents SET epoch_cleared = true WHERE space_id = $1 AND doc_id = $2 AND epoch_seq = $3";
pub(super) const UNFOLDED: &str = "
    INSERT INTO unfolded (space_id, doc_id, why, failures, again_ms) VALUES ($1, $2, $3, 1, $4)
    ON CONFLICT (space_id, doc_id) DO UPDATE SET
        why = excluded.why, failures = unfolded.failures + 1, again_ms = excluded.again_ms";
pub(super) const READERS: &str = "
    INSERT INTO readers (space_id, device_id, seq, seen_ms)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[])
    ON CONFLICT (space_id, device_id) DO UPDATE SET seq = excluded.seq, seen_ms = excluded.seen_ms";
pub(super) const HORIZON: &str = "
    SELECT p.horizon_seq, p.head_seq,
           (SELECT min(seq) FROM readers WHERE space_id = $1 AND seen_ms >= $2),
           (SELECT seq FROM log WHERE space_id = $1 AND seq > p.horizon_seq AND seq <= p.horizon_seq + $4
                AND received_at >= to_timestamp($3::bigint / 1000.0) ORDER BY seq LIMIT 1)
    FROM spaces p WHERE space_id = $1";
pub(super) const MOVE_HORIZON: &str = "UPDATE spaces SET horizon_seq = greatest(horizon_seq, least($2, head_seq)) WHERE space_id = $1 AND horizon_seq < $2";
/// By the database's clock: those of nodes differ.
pub(super) const LEASE: &str = "
    INSERT INTO compactors (space_id, node, until_ms)
    VALUES ($1, $2, (extract(epoch FROM now()) * 1000)::bigint + $3)
    ON CONFLICT (space_id) DO UPDATE SET node = excluded.node, until_ms = excluded.until_ms
    WHERE compactors.node = excluded.node OR compactors.until_ms <= (extract(epoch FROM now()) * 1000)::bigint";
