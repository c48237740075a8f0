-- Exclusions: changes that the server took and that break their documents.

-- What the log says of them: under which entry, and which change.
CREATE TABLE exclusions (
    space_id  BLOB    NOT NULL,
    doc_id    BLOB    NOT NULL,
    hash      BLOB    NOT NULL,
    device_id BLOB    NOT NULL,
    n         INTEGER NOT NULL,
    seq       INTEGER,
    PRIMARY KEY (space_id, doc_id, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX exclusions_by_seq ON exclusions (space_id, seq) WHERE seq IS NOT NULL;

-- How changes of the document stood when the snapshot was made; NULL where nothing was excluded.
ALTER TABLE snapshots ADD COLUMN grafts BLOB;
