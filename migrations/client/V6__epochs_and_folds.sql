-- Epochs: documents that begin anew, without the history before.

-- How many a document has begun, as it is shown, and as it will be when the space is whole.
ALTER TABLE documents ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE documents ADD COLUMN epoch_coming INTEGER NOT NULL DEFAULT 0;
CREATE INDEX documents_by_epoch ON documents (space_id, doc_id) WHERE epoch_coming > epoch;

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
