-- What was done that somebody may ask about one day. Rows are added, never changed; what is older than a year may be purged.

CREATE TABLE audit (
    user_id    TEXT    NOT NULL,                    -- whom it concerns, or what stands for an identity that was tried
    at_ms      INTEGER NOT NULL,                    -- by the server's clock, milliseconds since 1970
    id         BLOB    NOT NULL,                    -- as in the line of the log that says the same
    kind       TEXT    NOT NULL,
    device_id  BLOB,
    space_id   BLOB,
    address    TEXT,
    request_id TEXT,
    detail     TEXT,
    PRIMARY KEY (user_id, at_ms, id)
) STRICT;

CREATE INDEX audit_by_time ON audit (at_ms, id);

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- 365 days: no purge may come closer, whatever it was told.
CREATE TRIGGER audit_is_kept_for_a_year BEFORE DELETE ON audit
WHEN old.at_ms > (unixepoch() - 31536000) * 1000
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- INSERT OR REPLACE would delete without asking the trigger above. A row that is there is there, and adding it again does nothing.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE user_id = new.user_id AND at_ms = new.at_ms AND id = new.id)
BEGIN
    SELECT RAISE(IGNORE);
END;

-- When a user was here last, and where, to the hour.
CREATE TABLE last_seen (
    user_id    TEXT    NOT NULL PRIMARY KEY,
    country    TEXT    NOT NULL,
    at_ms      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- When a user was flagged last, of each kind: once an hour is enough.
CREATE TABLE flagged (
    user_id    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    at_ms      INTEGER NOT NULL,
    PRIMARY KEY (user_id, kind)
) STRICT, WITHOUT ROWID;
