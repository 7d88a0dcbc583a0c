ALTER TABLE orders ADD COLUMN IF NOT EXISTS shipped_at timestamptz;
DROP INDEX CONCURRENTLY IF EXISTS orders_shipped_at_idx;
CREATE INDEX CONCURRENTLY orders_shipped_at_idx ON orders (shipped_at);
