-- Epochs: documents that begin anew, without the history before.

-- How many a document has begun, as it is shown, and as it will be when the space is whole.
ALTER TABLE documents ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE documents ADD COLUMN epoch_coming INTEGER NOT NULL DEFAULT 0;
CREATE INDEX documents_by_epoch ON documents (space_id, doc_id) WHERE epoch_coming > epoch;
