-- Snapshots: documents' compacted states, in place of changes that this store does not hold.

-- What documents begin with (0), and what is on its way to take its place (1).
CREATE TABLE snapshots (
    space_id BLOB    NOT NULL,
    doc_id   BLOB    NOT NULL,
    coming   INTEGER NOT NULL,
    -- All changes of the document up to this place of the log are in it.
    seq      INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    size     INTEGER NOT NULL,
    -- How much of it is here.
    have     INTEGER NOT NULL,
    PRIMARY KEY (space_id, doc_id, coming)
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot_parts (
    space_id BLOB    NOT NULL,
    doc_id   BLOB    NOT NULL,
    hash     BLOB    NOT NULL,
    at       INTEGER NOT NULL,
    bytes    BLOB    NOT NULL,
    PRIMARY KEY (space_id, doc_id, hash, at)
) STRICT;

-- Documents with entries of which the payload was left out, and the newest of those: only a snapshot fills that.
CREATE TABLE holes (
    space_id BLOB    NOT NULL,
    doc_id   BLOB    NOT NULL,
    seq      INTEGER NOT NULL,
    PRIMARY KEY (space_id, doc_id)
) STRICT, WITHOUT ROWID;

-- How far a space was read to its end, about; and while there are holes in it, the last place, the last arrival and the version
-- that are shown: what came behind them is shown all at once, when there are none. Documents that came meanwhile have `deleted` = 2.
CREATE TABLE catch_ups (
    space_id     BLOB    NOT NULL PRIMARY KEY,
    base_seq     INTEGER NOT NULL,
    held_seq     INTEGER,
    held_arrival INTEGER,
    held_version BLOB
) STRICT, WITHOUT ROWID;
INSERT INTO catch_ups (space_id, base_seq) SELECT space_id, cursor_seq FROM spaces;
