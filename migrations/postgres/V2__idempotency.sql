-- Answers that are given again: `user_id` leads the key of what belongs to a user.

CREATE TABLE idempotency (
    user_id      text        NOT NULL,
    route        text        NOT NULL,                     -- method and route
    key_id       text        NOT NULL,                     -- as the caller chose it
    hash         bytea       NOT NULL,                     -- of the request that it stands for
    token        bytea       NOT NULL,                     -- of whoever may settle it
    expires_at   timestamptz NOT NULL,                     -- the lease's end, then the answer's
    status       integer,                                  -- from here on: of the answer, once there is one
    content_type text,
    body         bytea,
    PRIMARY KEY (user_id, route, key_id)
);

-- The one index that leads with neither a space nor a user: what has expired is cleared away whosever it was.
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
