-- Folding: old changes of a document that this store has in a snapshot of its own, and no more one by one.

-- Up to which place of its log a space was looked through for what can be folded.
CREATE TABLE folds (
    space_id  BLOB    NOT NULL PRIMARY KEY,
    seq       INTEGER NOT NULL,
    -- The last own item that is kept in a snapshot alone, and its place in the log.
    device_id BLOB,
    own_n     INTEGER,
    own_chain BLOB,
    own_seq   INTEGER
) STRICT, WITHOUT ROWID;

-- The last edit of this device in what was folded of a document: it and those before it are in the server's log.
ALTER TABLE documents ADD COLUMN folded_edits INTEGER NOT NULL DEFAULT 0;
