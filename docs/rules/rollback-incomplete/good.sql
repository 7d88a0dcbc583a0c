-- up
ALTER TABLE orders ADD COLUMN shipped_at timestamptz;
CREATE INDEX CONCURRENTLY orders_shipped_at_idx ON orders (shipped_at);

-- down: every step of up, in the opposite order
DROP INDEX CONCURRENTLY IF EXISTS orders_shipped_at_idx;
ALTER TABLE orders DROP COLUMN IF EXISTS shipped_at;
