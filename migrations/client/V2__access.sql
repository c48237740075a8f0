-- Spaces that the server does not let the user into (any more). What it has not got of them waits until it does.
CREATE TABLE barred (
    space_id BLOB NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
