-- a release before: the application stops using it, and its data are kept where they are wanted
CREATE TABLE orders_notes_kept AS SELECT id, note FROM orders WHERE note IS NOT NULL;

-- now, with [migration] expendable = ["orders.note"]:
SET lock_timeout = '2s';
ALTER TABLE orders DROP COLUMN note;
