-- The store of a phone. Forward only; every version that ever shipped stays a fixture.

-- Who this store belongs to, and what else there is only one of.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The spaces that this device takes part in: its own feed there, and its place in the server's log.
CREATE TABLE spaces (
    space_id     BLOB    NOT NULL PRIMARY KEY,
    own_n        INTEGER NOT NULL,
    own_chain    BLOB    NOT NULL,
    acked_n      INTEGER NOT NULL,
    acked_chain  BLOB    NOT NULL,
    cursor_seq   INTEGER NOT NULL,
    cursor_chain BLOB    NOT NULL,
    receipt      BLOB
) STRICT, WITHOUT ROWID;

-- How far each feed has arrived: the version vector, with chain values.
CREATE TABLE feeds (
    space_id  BLOB    NOT NULL,
    device_id BLOB    NOT NULL,
    n         INTEGER NOT NULL,
    chain     BLOB    NOT NULL,
    PRIMARY KEY (space_id, device_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    space_id   BLOB    NOT NULL,
    doc_id     BLOB    NOT NULL,
    collection TEXT    NOT NULL,
    deleted    INTEGER NOT NULL DEFAULT 0,
    -- Under which actor this device writes here; drawn again after a change was refused.
    actor      BLOB,
    -- Edits that this device has sealed here; those in the journal come on top.
    edits      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (space_id, doc_id)
) STRICT, WITHOUT ROWID;

-- Items of all feeds, in the order of arrival, in which each follows what it was made upon. The outbox is the part of the
-- own feed that is not acknowledged; refused items stay, out of the document.
CREATE TABLE items (
    arrival   INTEGER NOT NULL PRIMARY KEY,
    space_id  BLOB    NOT NULL,
    device_id BLOB    NOT NULL,
    n         INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    doc_id    BLOB    NOT NULL,
    hash      BLOB    NOT NULL,
    payload   BLOB,
    -- The place in the log and the server's verdict (0 applied, else the code's number), once it has decided.
    seq       INTEGER,
    verdict   INTEGER,
    -- Of an own change: the number of this device's last edit in it.
    last_edit INTEGER,
    -- Of an own item: the chain's value after it.
    chain     BLOB
) STRICT;
CREATE UNIQUE INDEX items_by_feed ON items (space_id, device_id, n);
CREATE INDEX items_by_document ON items (space_id, doc_id, arrival);

-- Edits that are not sealed yet, and what they build on.
CREATE TABLE journals (
    space_id  BLOB    NOT NULL,
    doc_id    BLOB    NOT NULL,
    -- In which order the journals of a space were begun, and so have to be sealed.
    opened    INTEGER NOT NULL,
    heads     BLOB    NOT NULL,
    actor     BLOB    NOT NULL,
    PRIMARY KEY (space_id, doc_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE journal_edits (
    id       INTEGER NOT NULL PRIMARY KEY,
    space_id BLOB    NOT NULL,
    doc_id   BLOB    NOT NULL,
    edit     INTEGER NOT NULL,
    ops      BLOB    NOT NULL
) STRICT;
CREATE INDEX journal_edits_by_document ON journal_edits (space_id, doc_id, id);
