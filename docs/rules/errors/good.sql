-- the old name goes in a later migration, when no version that uses it is running any more
SET lock_timeout = '2s';
ALTER TABLE orders ADD COLUMN state text;
