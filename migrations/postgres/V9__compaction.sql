-- Compaction: documents' compacted states, and how far the payloads behind them are still needed.

-- What a document's snapshot does not cover: applied changes, and their bytes. NULL until it was counted. No index names
-- them, so that counting them up does not touch one.
ALTER TABLE documents ADD COLUMN tail_changes bigint;
ALTER TABLE documents ADD COLUMN tail_bytes bigint;
-- Whether nothing is left of the content of a deleted document.
ALTER TABLE documents ADD COLUMN purged boolean NOT NULL DEFAULT false;

-- All active devices are past it, or it is older than the retention: payloads up to there may go, where snapshots cover them.
ALTER TABLE spaces ADD COLUMN horizon_seq bigint NOT NULL DEFAULT 0;

-- A document's compacted state: everything of it up to the change at `seq`.
CREATE TABLE snapshots (
    space_id      uuid        NOT NULL,
    doc_id        uuid        NOT NULL,
    seq           bigint      NOT NULL,
    hash          bytea       NOT NULL,                    -- SHA-256 of the bytes
    size          bigint      NOT NULL,                    -- and how many there are
    heads         bytea       NOT NULL,                    -- 32 bytes each, ascending
    changes       bigint      NOT NULL,                    -- that it covers
    payload_bytes bigint      NOT NULL,                    -- that those had
    below_seq     bigint      NOT NULL,                    -- no reader may count on payloads up to there
    dropped_seq   bigint      NOT NULL,                    -- there are none left up to there
    made_at       timestamptz NOT NULL DEFAULT now(),      -- for people alone
    PRIMARY KEY (space_id, doc_id)
);

-- Their bytes, in parts that are written before the row above names their hash, and taken away after it names another one.
CREATE TABLE snapshot_parts (
    space_id uuid    NOT NULL,
    doc_id   uuid    NOT NULL,
    hash     bytea   NOT NULL,
    part     integer NOT NULL,
    bytes    bytea   NOT NULL,
    PRIMARY KEY (space_id, doc_id, hash, part)
);
-- automerge has compressed it already.
ALTER TABLE snapshot_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Documents that could not be folded: why, how often, and when they are tried again.
CREATE TABLE unfolded (
    space_id uuid   NOT NULL,
    doc_id   uuid   NOT NULL,
    why      text   NOT NULL,
    failures bigint NOT NULL,
    again_ms bigint NOT NULL,
    PRIMARY KEY (space_id, doc_id)
);

-- How far devices have read, roughly: only as much as the horizon needs.
CREATE TABLE readers (
    space_id  uuid   NOT NULL,
    device_id uuid   NOT NULL,
    seq       bigint NOT NULL,
    seen_ms   bigint NOT NULL,
    PRIMARY KEY (space_id, device_id)
);

-- Which node looks after a space at present.
CREATE TABLE compactors (
    space_id uuid   NOT NULL PRIMARY KEY,
    node     uuid   NOT NULL,
    until_ms bigint NOT NULL
);
