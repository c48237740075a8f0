-- The log of each space, and what pushes are judged against. `space_id` leads every key of what belongs to a space, and no
-- foreign key crosses spaces, so that the same schema can be sharded by that column.

CREATE TABLE spaces (
    space_id        BLOB    NOT NULL PRIMARY KEY,
    head_seq        INTEGER NOT NULL,               -- the newest entry of the log, 0 before the first
    head_chain      BLOB    NOT NULL,               -- the chain's value there
    documents_total INTEGER NOT NULL,               -- documents ever created
    created_ms      INTEGER NOT NULL                -- by the server's clock; for people alone
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    space_id BLOB    NOT NULL,
    user_id  TEXT    NOT NULL,
    role     INTEGER NOT NULL,                      -- 1 reader, 2 writer, 3 owner
    PRIMARY KEY (space_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_user ON members (user_id);

-- What is acknowledged of each device's feed: all that a duplicate check needs, however long the history is.
CREATE TABLE feeds (
    space_id  BLOB    NOT NULL,
    device_id BLOB    NOT NULL,
    n         INTEGER NOT NULL,
    chain     BLOB    NOT NULL,
    PRIMARY KEY (space_id, device_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    space_id    BLOB    NOT NULL,
    doc_id      BLOB    NOT NULL,
    collection  TEXT    NOT NULL,
    deleted_seq INTEGER,                            -- the entry that deleted it; the tombstone is permanent
    operations  INTEGER NOT NULL,
    actors      INTEGER NOT NULL,
    PRIMARY KEY (space_id, doc_id)
) STRICT, WITHOUT ROWID;

-- The last change of each actor in each document.
CREATE TABLE actors (
    space_id BLOB    NOT NULL,
    doc_id   BLOB    NOT NULL,
    actor    BLOB    NOT NULL,                      -- the device's 16 bytes, and 4 random ones
    seq      INTEGER NOT NULL,                      -- automerge's sequence number
    hash     BLOB    NOT NULL,
    PRIMARY KEY (space_id, doc_id, actor)
) STRICT, WITHOUT ROWID;

-- Headers stay for good: they answer duplicates, dependencies and `start_op` for a device that slept for years.
CREATE TABLE log (
    space_id    BLOB    NOT NULL,
    seq         INTEGER NOT NULL,
    device_id   BLOB    NOT NULL,
    n           INTEGER NOT NULL,
    kind        INTEGER NOT NULL,                   -- 1 create, 2 change, 3 delete
    doc_id      BLOB    NOT NULL,
    hash        BLOB    NOT NULL,                   -- declared, and covered by both chains
    verdict     INTEGER NOT NULL,                   -- 0 applied, else the code of the refusal
    chain       BLOB    NOT NULL,                   -- of the log, after this entry
    actor       BLOB,                               -- from here on: of applied changes alone
    actor_seq   INTEGER,
    start_op    INTEGER,
    max_op      INTEGER,
    deps        BLOB,                               -- 32 bytes each
    received_ms INTEGER NOT NULL,                   -- by the server's clock; for people alone
    PRIMARY KEY (space_id, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX log_by_feed ON log (space_id, device_id, n);
-- Covers the question "is this dependency known, and what is its highest operation?".
CREATE INDEX log_by_hash ON log (space_id, doc_id, hash, verdict, max_op) WHERE kind = 2;

-- Apart from the headers, since payloads may be dropped once snapshots cover them. A table with rowids: clustered by a
-- blob key, rows of a kilobyte would leave four entries to an inner page of the tree.
CREATE TABLE payloads (
    space_id BLOB    NOT NULL,
    seq      INTEGER NOT NULL,
    bytes    BLOB    NOT NULL,
    PRIMARY KEY (space_id, seq)
) STRICT;
