-- People, their devices, and the sessions of those: `user_id` leads every key.

CREATE TABLE users (
    user_id      TEXT    NOT NULL PRIMARY KEY,
    display_name TEXT,                              -- what others call this person, once somebody has said
    created_ms   INTEGER NOT NULL,
    seen_ms      INTEGER NOT NULL                   -- the last sign-in
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    user_id     TEXT    NOT NULL,
    device_id   BLOB    NOT NULL,
    name        TEXT    NOT NULL,
    platform    TEXT    NOT NULL,
    app_version TEXT    NOT NULL,
    public_key  BLOB,                               -- Ed25519
    created_ms  INTEGER NOT NULL,
    seen_ms     INTEGER NOT NULL,                   -- the last sign-in or refresh
    revoked_ms  INTEGER,                            -- a tombstone from then on
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;

-- A family of refresh tokens: one row, whatever its number of tokens.
CREATE TABLE sessions (
    user_id    TEXT    NOT NULL,
    session_id BLOB    NOT NULL,
    device_id  BLOB    NOT NULL,
    nonce      BLOB    NOT NULL,                    -- what its tokens are derived from, with a key that is not in here
    n          INTEGER NOT NULL,                    -- which token is the current one
    token_hash BLOB    NOT NULL,                    -- SHA-256 of its secret
    begun_ms   INTEGER NOT NULL,
    rotated_ms INTEGER NOT NULL,                    -- when the current token was given out
    expires_ms INTEGER NOT NULL,                    -- unless it is used before
    ended_ms   INTEGER,
    ended_why  INTEGER,                             -- 1 replaced, 2 logged out, 3 device revoked, 4 theft
    PRIMARY KEY (user_id, session_id)
) STRICT, WITHOUT ROWID;

-- What was cut off lately, whosever it was: every node asks for it again and again, for what the bus did not tell it.
CREATE INDEX devices_cut ON devices (revoked_ms) WHERE revoked_ms IS NOT NULL;
CREATE INDEX sessions_cut ON sessions (ended_ms) WHERE ended_ms IS NOT NULL;
