-- the same as a migration, for databases that have it already and for those that do not
CREATE INDEX IF NOT EXISTS orders_status_idx ON orders (status);
ALTER TABLE orders ALTER COLUMN status SET DEFAULT 'open';
