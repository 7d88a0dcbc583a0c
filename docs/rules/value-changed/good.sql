-- look first: any row here would lose something
SELECT count(*) FROM orders WHERE length(note) > 20;

-- then bind new rows, and old ones after a check that keeps nobody out
SET lock_timeout = '2s';
ALTER TABLE orders ADD CONSTRAINT orders_note_short CHECK (length(note) <= 20) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT orders_note_short;
