-- What companions redeem for a session, once. It leads with neither a space nor a user: who redeems it is nobody yet.

CREATE TABLE grants (
    grant_id     BLOB    NOT NULL PRIMARY KEY,      -- a hash of the code: nobody who reads this can redeem it
    version      INTEGER NOT NULL,                  -- whoever changes the row names the one that it has read
    kind         INTEGER NOT NULL,                  -- 1 authorization code, 2 device
    state        INTEGER NOT NULL,                  -- 1 asked, 2 approved, 3 denied, 4 redeemed, 5 spoilt
    client_id    TEXT    NOT NULL,
    user_id      TEXT,                              -- who approved
    display_name TEXT,
    redirect_uri TEXT,                              -- of a code: where it was sent
    challenge    TEXT,                              -- of a code: the hash of what its owner shows
    secret_hash  BLOB,                              -- of a device: SHA-256 of what it redeems with
    interval_s   INTEGER NOT NULL,                  -- how often a device may ask
    asked_ms     INTEGER NOT NULL,                  -- when it did last
    device_id    BLOB,                              -- what was begun with it
    expires_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX grants_by_expiry ON grants (expires_ms);
