ALTER TABLE orders ALTER COLUMN delivery_country DROP NOT NULL;
ALTER TABLE orders DROP COLUMN priority;
ALTER TABLE orders DROP COLUMN queued_at;
DROP INDEX orders_status_created_at_idx;
