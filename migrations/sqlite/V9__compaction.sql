-- Compaction: documents' compacted states, and how far the payloads behind them are still needed.

-- What a document's snapshot does not cover: applied changes, and their bytes. NULL until it was counted.
ALTER TABLE documents ADD COLUMN tail_changes INTEGER;
ALTER TABLE documents ADD COLUMN tail_bytes INTEGER;
-- 1 where nothing is left of the content of a deleted document.
ALTER TABLE documents ADD COLUMN purged INTEGER NOT NULL DEFAULT 0;

-- All active devices are past it, or it is older than the retention: payloads up to there may go, where snapshots cover them.
ALTER TABLE spaces ADD COLUMN horizon_seq INTEGER NOT NULL DEFAULT 0;

-- A document's compacted state: everything of it up to the change at `seq`.
CREATE TABLE snapshots (
    space_id      BLOB    NOT NULL,
    doc_id        BLOB    NOT NULL,
    seq           INTEGER NOT NULL,
    hash          BLOB    NOT NULL,                 -- SHA-256 of the bytes
    size          INTEGER NOT NULL,                 -- and how many there are
    heads         BLOB    NOT NULL,                 -- 32 bytes each, ascending
    changes       INTEGER NOT NULL,                 -- that it covers
    payload_bytes INTEGER NOT NULL,                 -- that those had
    below_seq     INTEGER NOT NULL,                 -- no reader may count on payloads up to there
    dropped_seq   INTEGER NOT NULL,                 -- there are none left up to there
    made_ms       INTEGER NOT NULL,                 -- by the server's clock; for people alone
    PRIMARY KEY (space_id, doc_id)
) STRICT, WITHOUT ROWID;

-- Their bytes, in parts that are written before the row above names their hash, and taken away after it names another one.
CREATE TABLE snapshot_parts (
    space_id BLOB    NOT NULL,
    doc_id   BLOB    NOT NULL,
    hash     BLOB    NOT NULL,
    part     INTEGER NOT NULL,
    bytes    BLOB    NOT NULL,
    PRIMARY KEY (space_id, doc_id, hash, part)
) STRICT;

-- Documents that could not be folded: why, how often, and when they are tried again.
CREATE TABLE unfolded (
    space_id BLOB    NOT NULL,
    doc_id   BLOB    NOT NULL,
    why      TEXT    NOT NULL,
    failures INTEGER NOT NULL,
    again_ms INTEGER NOT NULL,
    PRIMARY KEY (space_id, doc_id)
) STRICT, WITHOUT ROWID;

-- How far devices have read, roughly: only as much as the horizon needs.
CREATE TABLE readers (
    space_id  BLOB    NOT NULL,
    device_id BLOB    NOT NULL,
    seq       INTEGER NOT NULL,
    seen_ms   INTEGER NOT NULL,
    PRIMARY KEY (space_id, device_id)
) STRICT, WITHOUT ROWID;

-- Which node looks after a space at present.
CREATE TABLE compactors (
    space_id BLOB    NOT NULL PRIMARY KEY,
    node     BLOB    NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
