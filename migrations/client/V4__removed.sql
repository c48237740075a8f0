-- Spaces that this device took no part in for a while: how far its feed had come, which goes on from there if it comes back.
-- Until the log is read to its end again, it asks for its own payloads too.
CREATE TABLE removed (
    space_id    BLOB    NOT NULL PRIMARY KEY,
    own_n       INTEGER NOT NULL,
    own_chain   BLOB    NOT NULL,
    acked_n     INTEGER NOT NULL,
    acked_chain BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
