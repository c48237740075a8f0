-- People, their devices, and the sessions of those: `user_id` leads every key, so all of a user's rows are on one shard.

CREATE TABLE users (
    user_id      text   NOT NULL PRIMARY KEY,
    display_name text,                                     -- what others call this person, once somebody has said
    created_ms   bigint NOT NULL,
    seen_ms      bigint NOT NULL                           -- the last sign-in
);

CREATE TABLE devices (
    user_id     text   NOT NULL,
    device_id   uuid   NOT NULL,
    name        text   NOT NULL,
    platform    text   NOT NULL,
    app_version text   NOT NULL,
    public_key  bytea,                                     -- Ed25519
    created_ms  bigint NOT NULL,
    seen_ms     bigint NOT NULL,                           -- the last sign-in or refresh
    revoked_ms  bigint,                                    -- a tombstone from then on
    PRIMARY KEY (user_id, device_id)
) WITH (fillfactor = 70);

-- A family of refresh tokens: one row, whatever its number of tokens.
CREATE TABLE sessions (
    user_id    text     NOT NULL,
    session_id uuid     NOT NULL,
    device_id  uuid     NOT NULL,
    nonce      bytea    NOT NULL,                          -- what its tokens are derived from, with a key that is not in here
    n          bigint   NOT NULL,                          -- which token is the current one
    token_hash bytea    NOT NULL,                          -- SHA-256 of its secret
    begun_ms   bigint   NOT NULL,
    rotated_ms bigint   NOT NULL,                          -- when the current token was given out
    expires_ms bigint   NOT NULL,                          -- unless it is used before
    ended_ms   bigint,
    ended_why  smallint,                                   -- 1 replaced, 2 logged out, 3 device revoked, 4 theft
    PRIMARY KEY (user_id, session_id)
) WITH (fillfactor = 70);

-- What was cut off lately, whosever it was: every node asks for it again and again, for what the bus did not tell it. The two
-- indexes that do not lead with a user are small, since what has not ended is not in them.
CREATE INDEX devices_cut ON devices (revoked_ms) WHERE revoked_ms IS NOT NULL;
CREATE INDEX sessions_cut ON sessions (ended_ms) WHERE ended_ms IS NOT NULL;
