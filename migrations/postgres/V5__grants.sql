-- What companions redeem for a session, once. It leads with neither a space nor a user: who redeems it is nobody yet.

CREATE TABLE grants (
    grant_id     bytea    NOT NULL PRIMARY KEY,     -- a hash of the code: nobody who reads this can redeem it
    version      bigint   NOT NULL,                 -- whoever changes the row names the one that it has read
    kind         smallint NOT NULL,                 -- 1 authorization code, 2 device
    state        smallint NOT NULL,                 -- 1 asked, 2 approved, 3 denied, 4 redeemed, 5 spoilt
    client_id    text     NOT NULL,
    user_id      text,                              -- who approved
    display_name text,
    redirect_uri text,                              -- of a code: where it was sent
    challenge    text,                              -- of a code: the hash of what its owner shows
    secret_hash  bytea,                             -- of a device: SHA-256 of what it redeems with
    interval_s   bigint   NOT NULL,                 -- how often a device may ask
    asked_ms     bigint   NOT NULL,                 -- when it did last
    device_id    uuid,                              -- what was begun with it
    expires_ms   bigint   NOT NULL
);

CREATE INDEX grants_by_expiry ON grants (expires_ms);
