-- the rows that are in the way are seen to first
SET lock_timeout = '2s';
DELETE FROM orders later USING orders first
WHERE later.customer_id = first.customer_id AND later.id > first.id;
ALTER TABLE orders ADD CONSTRAINT orders_customer_id_key UNIQUE (customer_id);
