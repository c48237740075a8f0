-- What was done that somebody may ask about one day. Rows are added, never changed; what is older than the retention is purged.

CREATE TABLE audit (
    user_id    text   NOT NULL,                            -- whom it concerns, or what stands for an identity that was tried
    at_ms      bigint NOT NULL,                            -- by the node's clock, milliseconds since 1970
    id         uuid   NOT NULL,                            -- as in the line of the log that says the same
    kind       text   NOT NULL,
    device_id  uuid,
    space_id   uuid,
    address    text,
    request_id text,
    detail     text,
    PRIMARY KEY (user_id, at_ms, id)
);

-- Leads with neither a space nor a user: who reads what happened lately, whosever it was, and who purges, asks every shard.
CREATE INDEX audit_by_time ON audit (at_ms, id);

-- When a user was here last, and where, to the hour.
CREATE TABLE last_seen (
    user_id    text   NOT NULL PRIMARY KEY,
    country    text   NOT NULL,
    at_ms      bigint NOT NULL
);

-- When a user was flagged last, of each kind: once an hour is enough, on whichever node.
CREATE TABLE flagged (
    user_id    text   NOT NULL,
    kind       text   NOT NULL,
    at_ms      bigint NOT NULL,
    PRIMARY KEY (user_id, kind)
);
