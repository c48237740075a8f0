-- What phones are through in a long life: refusals, restored backups, snapshots, a server that lost data.

-- Own changes that are out of their document before, or because, the server has refused them.
ALTER TABLE items ADD COLUMN out INTEGER NOT NULL DEFAULT 0;
UPDATE items SET out = 1 WHERE verdict > 0;

-- What of them nobody else has: all operations, or some of them (each a little-endian number of 4 bytes).
CREATE TABLE quarantine (
    space_id   BLOB    NOT NULL,
    device_id  BLOB    NOT NULL,
    n          INTEGER NOT NULL,
    doc_id     BLOB    NOT NULL,
    code       INTEGER NOT NULL,
    operations BLOB,
    -- How often it was offered again by itself, and since when it waits for the next time.
    offers     INTEGER NOT NULL,
    since_ms   INTEGER NOT NULL,
    PRIMARY KEY (space_id, device_id, n)
) STRICT, WITHOUT ROWID;
INSERT INTO quarantine SELECT space_id, device_id, n, doc_id, verdict, NULL, 0, 0 FROM items
    WHERE verdict > 0 AND chain IS NOT NULL AND (payload IS NOT NULL OR kind = 3);

-- Which own change says again what another one said, as far as it does: the operations, as above.
CREATE TABLE remade (
    space_id   BLOB    NOT NULL,
    device_id  BLOB    NOT NULL,
    n          INTEGER NOT NULL,
    by_device  BLOB    NOT NULL,
    by_n       INTEGER NOT NULL,
    operations BLOB    NOT NULL,
    -- How often it was offered again by itself then.
    offers     INTEGER NOT NULL,
    PRIMARY KEY (space_id, device_id, n, by_device, by_n)
) STRICT, WITHOUT ROWID;
CREATE INDEX remade_by ON remade (space_id, by_device, by_n);

-- Devices that this store was before: a feed that was written elsewhere too is not gone on with.
CREATE TABLE former (
    device_id BLOB NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Spaces whose own feed begins anew when the log is read to its end. Until then what was written and not sent is kept as the
-- feed of a device that is none.
CREATE TABLE healing (
    space_id BLOB NOT NULL PRIMARY KEY,
    label    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The random bits of the change that a journal becomes, so that one that comes back after it was sent is known.
ALTER TABLE journals ADD COLUMN mark INTEGER;

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

-- For which place in the log the receipt is: while a page is being stored, the cursor is ahead of it.
ALTER TABLE spaces ADD COLUMN receipt_seq INTEGER;
ALTER TABLE spaces ADD COLUMN receipt_chain BLOB;
UPDATE spaces SET receipt_seq = cursor_seq, receipt_chain = cursor_chain WHERE receipt IS NOT NULL;
-- The log in its order, for handing back what a server lost. An item without a place in the log is not in it.
CREATE INDEX items_by_seq ON items (space_id, seq) WHERE seq IS NOT NULL;
