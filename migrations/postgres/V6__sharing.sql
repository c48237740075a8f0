-- How spaces are made and shared.

-- What a space is called, where somebody gave it a name.
CREATE TABLE space_names (
    space_id   uuid   NOT NULL PRIMARY KEY,
    name       text   NOT NULL,
    created_by text   NOT NULL,
    created_ms bigint NOT NULL
);

-- The spaces that a user has made, counted up, so that nobody makes any number of them.
CREATE TABLE made_spaces (
    user_id  text   NOT NULL,
    number   bigint NOT NULL,                              -- 1, 2, 3, …
    space_id uuid   NOT NULL,
    PRIMARY KEY (user_id, number)
);

-- Invitations that can be accepted, and for a while those that were. What was taken back is gone.
CREATE TABLE invites (
    space_id    uuid     NOT NULL,
    invite_id   uuid     NOT NULL,
    secret_hash bytea    NOT NULL,                         -- SHA-256; the secret itself is in the link alone
    role        smallint NOT NULL,                         -- as in members
    created_by  text     NOT NULL,
    created_ms  bigint   NOT NULL,
    expires_ms  bigint   NOT NULL,
    used_by     text,                                      -- who accepted it; nobody else may any more
    used_ms     bigint,
    PRIMARY KEY (space_id, invite_id)
);
