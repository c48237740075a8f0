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
