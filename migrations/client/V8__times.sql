-- When the server took changes, by its clock: for people alone. Seconds since 1970; NULL where no server said so (yet).

ALTER TABLE items ADD COLUMN taken_s INTEGER;

-- The same of changes that stand in a snapshot alone, of each document the newest: 6 bytes of the hash and 5 of the time each,
-- in the order of time.
CREATE TABLE times (
    space_id BLOB NOT NULL,
    doc_id   BLOB NOT NULL,
    taken    BLOB NOT NULL,
    PRIMARY KEY (space_id, doc_id)
) STRICT;
