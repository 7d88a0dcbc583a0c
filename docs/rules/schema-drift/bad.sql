-- by hand, in production, on a bad night
CREATE INDEX orders_status_idx ON orders (status);
ALTER TABLE orders ALTER COLUMN status SET DEFAULT 'open';
