-- Accounts of our own. `accounts` leads with neither a space nor a user: it is the directory that says which user an address is.

CREATE TABLE accounts (
    email         text   NOT NULL PRIMARY KEY,      -- in lower case
    user_id       text   NOT NULL,
    password_hash text   NOT NULL,                  -- argon2id with its cost, as a PHC string
    display_name  text   NOT NULL,
    created_ms    bigint NOT NULL
);

-- Changing a password begins with the user, seldom enough to ask every shard.
CREATE INDEX accounts_by_user ON accounts (user_id);

-- How often somebody has tried to sign in as an identity, whether it has an account or not: so there is no user to lead it.
CREATE TABLE sign_in_failures (
    identity         bytea   NOT NULL PRIMARY KEY,  -- a hash of the address: what was tried is nobody's to read
    version          bigint  NOT NULL,              -- whoever changes the row names the one that it has read
    recent           bytea   NOT NULL,              -- attempts of the window: milliseconds, 8 bytes each
    failures         bytea   NOT NULL,              -- failures of the day, likewise
    in_a_row         bigint  NOT NULL,              -- failures since the last success
    not_before_ms    bigint  NOT NULL,              -- the end of the back-off
    blocks           bigint  NOT NULL,              -- in a row
    blocked_until_ms bigint  NOT NULL,
    forgotten_ms     bigint  NOT NULL               -- when the row says nothing any more
);

CREATE INDEX sign_in_failures_by_end ON sign_in_failures (forgotten_ms);
