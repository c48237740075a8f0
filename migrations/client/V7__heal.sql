-- For which place in the log the receipt is: while a page is being stored, the cursor is ahead of it.
ALTER TABLE spaces ADD COLUMN receipt_seq INTEGER;
ALTER TABLE spaces ADD COLUMN receipt_chain BLOB;
UPDATE spaces SET receipt_seq = cursor_seq, receipt_chain = cursor_chain WHERE receipt IS NOT NULL;
-- The log in its order, for handing back what a server lost. An item without a place in the log is not in it.
CREATE INDEX items_by_seq ON items (space_id, seq) WHERE seq IS NOT NULL;
