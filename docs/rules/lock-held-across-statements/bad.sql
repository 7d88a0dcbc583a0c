BEGIN;
ALTER TABLE orders ADD COLUMN priority int;
UPDATE orders SET priority = 0;
CREATE INDEX orders_priority_idx ON orders (priority);
COMMIT;
