SET lock_timeout = '2s';
ALTER TABLE orders ADD COLUMN priority int DEFAULT 0;
RESET lock_timeout;
CREATE INDEX CONCURRENTLY orders_priority_idx ON orders (priority);
