-- How spaces are made and shared.

-- What a space is called, where somebody gave it a name.
CREATE TABLE space_names (
    space_id   BLOB    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    created_by TEXT    NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The spaces that a user has made, counted up, so that nobody makes any number of them.
CREATE TABLE made_spaces (
    user_id  TEXT    NOT NULL,
    number   INTEGER NOT NULL,                      -- 1, 2, 3, …
    space_id BLOB    NOT NULL,
    PRIMARY KEY (user_id, number)
) STRICT, WITHOUT ROWID;

-- Invitations that can be accepted, and for a while those that were. What was taken back is gone.
CREATE TABLE invites (
    space_id    BLOB    NOT NULL,
    invite_id   BLOB    NOT NULL,
    secret_hash BLOB    NOT NULL,                   -- SHA-256; the secret itself is in the link alone
    role        INTEGER NOT NULL,                   -- as in members
    created_by  TEXT    NOT NULL,
    created_ms  INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL,
    used_by     TEXT,                               -- who accepted it; nobody else may any more
    used_ms     INTEGER,
    PRIMARY KEY (space_id, invite_id)
) STRICT, WITHOUT ROWID;
