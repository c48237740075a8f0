-- The log of each space, and what pushes are judged against: the embedded store's schema in Postgres' words. `space_id` leads
-- every key of what belongs to a space and `user_id` of what belongs to a user; there are no sequences and no foreign keys,
-- and no transaction spans two spaces or two users, so that the same schema can be sharded by those columns.

-- Updated by every commit: room in its pages keeps the updates off the index.
CREATE TABLE spaces (
    space_id        uuid        NOT NULL PRIMARY KEY,
    head_seq        bigint      NOT NULL,                  -- the newest entry of the log, 0 before the first
    head_chain      bytea       NOT NULL,                  -- the chain's value there
    documents_total bigint      NOT NULL,                  -- documents ever created
    created_at      timestamptz NOT NULL DEFAULT now()     -- for people alone
) WITH (fillfactor = 50);

CREATE TABLE members (
    space_id uuid     NOT NULL,
    user_id  text     NOT NULL,
    role     smallint NOT NULL,                            -- 1 reader, 2 writer, 3 owner
    PRIMARY KEY (space_id, user_id)
);

-- Where a user may be a member: written before the membership and never taken back by its end, so it may name too many
-- spaces and never too few. What counts is `members`.
CREATE TABLE user_spaces (
    user_id  text NOT NULL,
    space_id uuid NOT NULL,
    PRIMARY KEY (user_id, space_id)
);

-- What is acknowledged of each device's feed: all that a duplicate check needs, however long the history is.
CREATE TABLE feeds (
    space_id  uuid   NOT NULL,
    device_id uuid   NOT NULL,
    n         bigint NOT NULL,
    chain     bytea  NOT NULL,
    PRIMARY KEY (space_id, device_id)
) WITH (fillfactor = 70);

CREATE TABLE documents (
    space_id    uuid   NOT NULL,
    doc_id      uuid   NOT NULL,
    collection  text   NOT NULL,
    deleted_seq bigint,                                    -- the entry that deleted it; the tombstone is permanent
    operations  bigint NOT NULL,
    actors      bigint NOT NULL,
    PRIMARY KEY (space_id, doc_id)
) WITH (fillfactor = 70);

-- The last change of each actor in each document.
CREATE TABLE actors (
    space_id uuid   NOT NULL,
    doc_id   uuid   NOT NULL,
    actor    bytea  NOT NULL,                              -- the device's 16 bytes, and 4 random ones
    seq      bigint NOT NULL,                              -- automerge's sequence number
    hash     bytea  NOT NULL,
    PRIMARY KEY (space_id, doc_id, actor)
) WITH (fillfactor = 70);

-- Headers stay for good: they answer duplicates, dependencies and `start_op` for a device that slept for years.
CREATE TABLE log (
    space_id      uuid        NOT NULL,
    seq           bigint      NOT NULL,
    device_id     uuid        NOT NULL,
    n             bigint      NOT NULL,
    kind          smallint    NOT NULL,                    -- 1 create, 2 change, 3 delete
    doc_id        uuid        NOT NULL,
    hash          bytea       NOT NULL,                    -- declared, and covered by both chains
    verdict       smallint    NOT NULL,                    -- 0 applied, else the code of the refusal
    chain         bytea       NOT NULL,                    -- of the log, after this entry
    payload_bytes integer     NOT NULL,                    -- so that pages are cut without reading payloads
    actor         bytea,                                   -- from here on: of applied changes alone
    actor_seq     bigint,
    start_op      bigint,
    max_op        bigint,
    deps          bytea,                                   -- 32 bytes each
    received_at   timestamptz NOT NULL DEFAULT now(),      -- for people alone
    PRIMARY KEY (space_id, seq)
) PARTITION BY HASH (space_id);

CREATE UNIQUE INDEX log_by_feed ON log (space_id, device_id, n);
-- Covers the question "is this dependency known, and what is its highest operation?".
CREATE INDEX log_by_hash ON log (space_id, doc_id, hash) INCLUDE (verdict, max_op) WHERE kind = 2;

-- Apart from the headers, since payloads may be dropped once snapshots cover them.
CREATE TABLE payloads (
    space_id uuid   NOT NULL,
    seq      bigint NOT NULL,
    bytes    bytea  NOT NULL,
    PRIMARY KEY (space_id, seq)
) PARTITION BY HASH (space_id);

DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE log_%s PARTITION OF log FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
                       lpad(part::text, 2, '0'), part);
        EXECUTE format('CREATE TABLE payloads_%s PARTITION OF payloads FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
                       lpad(part::text, 2, '0'), part);
        -- automerge has compressed what is large already.
        EXECUTE format('ALTER TABLE payloads_%s ALTER COLUMN bytes SET STORAGE EXTERNAL', lpad(part::text, 2, '0'));
    END LOOP;
END
$$;

-- Which keys the nodes of this database sign with, so that one with others is found before a phone finds it. One row.
CREATE TABLE cluster (
    one_row     boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one_row),
    signing_key text    NOT NULL,                          -- its id
    receipt_key text    NOT NULL
);
