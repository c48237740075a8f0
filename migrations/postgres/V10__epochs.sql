-- Epochs: documents that began anew, without the history before.

-- How many a document has begun, and the entry of the log that began the present one. What is said of its operations, its
-- actors and its tail is of that one.
ALTER TABLE documents ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
ALTER TABLE documents ADD COLUMN epoch_seq bigint NOT NULL DEFAULT 0;
-- The last of the changes that it began with, and the counter of their last operation.
ALTER TABLE documents ADD COLUMN epoch_head bytea;
ALTER TABLE documents ADD COLUMN epoch_max_op bigint NOT NULL DEFAULT 0;
-- Whether no payload of the epoch before is there any more.
ALTER TABLE documents ADD COLUMN epoch_cleared boolean NOT NULL DEFAULT true;
