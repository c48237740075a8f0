-- Epochs: documents that began anew, without the history before.

-- How many a document has begun, and the entry of the log that began the present one. What is said of its operations, its
-- actors and its tail is of that one.
ALTER TABLE documents ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE documents ADD COLUMN epoch_seq INTEGER NOT NULL DEFAULT 0;
-- The last of the changes that it began with, and the counter of their last operation.
ALTER TABLE documents ADD COLUMN epoch_head BLOB;
ALTER TABLE documents ADD COLUMN epoch_max_op INTEGER NOT NULL DEFAULT 0;
-- 0 while payloads of the epoch before are still there.
ALTER TABLE documents ADD COLUMN epoch_cleared INTEGER NOT NULL DEFAULT 1;
