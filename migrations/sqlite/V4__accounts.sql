-- Accounts of our own. `accounts` leads with neither a space nor a user: it is the directory that says which user an address is.

CREATE TABLE accounts (
    email         TEXT    NOT NULL PRIMARY KEY,     -- in lower case
    user_id       TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,                 -- argon2id with its cost, as a PHC string
    display_name  TEXT    NOT NULL,
    created_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX accounts_by_user ON accounts (user_id);

-- How often somebody has tried to sign in as an identity, whether it has an account or not.
CREATE TABLE sign_in_failures (
    identity         BLOB    NOT NULL PRIMARY KEY,  -- a hash of the address: what was tried is nobody's to read
    version          INTEGER NOT NULL,              -- whoever changes the row names the one that it has read
    recent           BLOB    NOT NULL,              -- attempts of the window: milliseconds, 8 bytes each
    failures         BLOB    NOT NULL,              -- failures of the day, likewise
    in_a_row         INTEGER NOT NULL,              -- failures since the last success
    not_before_ms    INTEGER NOT NULL,              -- the end of the back-off
    blocks           INTEGER NOT NULL,              -- in a row
    blocked_until_ms INTEGER NOT NULL,
    forgotten_ms     INTEGER NOT NULL               -- when the row says nothing any more
) STRICT, WITHOUT ROWID;

CREATE INDEX sign_in_failures_by_end ON sign_in_failures (forgotten_ms);
