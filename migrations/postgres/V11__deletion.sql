-- Spaces that are closed: while they are filled from a file, and for good once they were deleted.
ALTER TABLE spaces ADD COLUMN closed smallint NOT NULL DEFAULT 0;   -- 0 open, 1 being filled, 2 deleted

-- The tombstones of spaces: their ids are never used again.
CREATE TABLE deleted_spaces (
    space_id   uuid   NOT NULL PRIMARY KEY,
    deleted_ms bigint NOT NULL,
    purged_ms  bigint                                      -- when nothing of it was left but this
);

-- Every node asks again and again what was deleted lately, and the background job what is left.
CREATE INDEX deleted_spaces_by_time ON deleted_spaces (deleted_ms);

-- Who was a member then, and is told that the space is gone where others are told that there is none.
CREATE TABLE deleted_members (
    space_id uuid NOT NULL,
    user_id  text NOT NULL,
    PRIMARY KEY (space_id, user_id)
);

-- When nothing was left of the content of a deleted document.
ALTER TABLE documents ADD COLUMN purged_ms bigint;
