-- Exclusions: changes that were taken and break their documents. Entries of kind 4, each under the id of its change.

-- An exclusion is no item of a feed.
DROP INDEX log_by_feed;
CREATE UNIQUE INDEX log_by_feed ON log (space_id, device_id, n) WHERE kind <> 4;

-- How changes stand in the present epoch of a document of which something was excluded.
CREATE TABLE grafts (
    space_id BLOB NOT NULL,
    doc_id   BLOB NOT NULL,
    bytes    BLOB NOT NULL,
    PRIMARY KEY (space_id, doc_id)
) STRICT, WITHOUT ROWID;
