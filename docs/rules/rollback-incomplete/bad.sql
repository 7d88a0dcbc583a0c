-- up: DROP INDEX orders_status_idx; ALTER TABLE orders ADD COLUMN shipped_at timestamptz;
-- down, which forgets the index:
ALTER TABLE orders ADD COLUMN shipped_at timestamptz;
ALTER TABLE orders DROP COLUMN shipped_at;
