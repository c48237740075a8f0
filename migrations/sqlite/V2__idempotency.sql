-- Answers that are given again: `user_id` leads the key of what belongs to a user. A table with rowids, since rows hold bodies.

CREATE TABLE idempotency (
    user_id      TEXT    NOT NULL,
    route        TEXT    NOT NULL,                  -- method and route
    key_id       TEXT    NOT NULL,                  -- as the caller chose it
    hash         BLOB    NOT NULL,                  -- of the request that it stands for
    token        BLOB    NOT NULL,                  -- of whoever may settle it
    expires_ms   INTEGER NOT NULL,                  -- by the server's clock: the lease's end, then the answer's
    status       INTEGER,                           -- from here on: of the answer, once there is one
    content_type TEXT,
    body         BLOB,
    PRIMARY KEY (user_id, route, key_id)
) STRICT;

CREATE INDEX idempotency_by_expiry ON idempotency (expires_ms);
