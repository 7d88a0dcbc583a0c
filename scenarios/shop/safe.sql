-- The same change as naive.sql, in steps that never keep the application out for longer than a moment.

-- Reads and writes go on while it is built. No lock_timeout here: it waits for open transactions
-- without anyone queueing behind it, and giving up would leave an invalid index.
CREATE INDEX CONCURRENTLY orders_status_created_at_idx ON orders (status, created_at);

-- From here on, rather fail than make everybody queue behind a long transaction.
SET lock_timeout = '2s';

-- now() is evaluated once, so the value is kept in the catalog and no row is written.
ALTER TABLE orders ADD COLUMN queued_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE orders ALTER COLUMN queued_at SET DEFAULT clock_timestamp();

-- New rows are checked at once; the old ones under a lock that lets reads and writes pass.
ALTER TABLE orders ADD COLUMN priority smallint NOT NULL DEFAULT 0;
ALTER TABLE orders ADD CONSTRAINT orders_priority_check CHECK (priority BETWEEN 0 AND 9) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT orders_priority_check;

-- A valid CHECK proves that there are no nulls, so SET NOT NULL has nothing left to read.
ALTER TABLE orders ADD CONSTRAINT orders_delivery_country_given CHECK (delivery_country IS NOT NULL) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT orders_delivery_country_given;
ALTER TABLE orders ALTER COLUMN delivery_country SET NOT NULL;
ALTER TABLE orders DROP CONSTRAINT orders_delivery_country_given;
