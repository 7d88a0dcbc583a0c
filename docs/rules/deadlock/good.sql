SET lock_timeout = '2s';
ALTER TABLE customers ADD COLUMN checked boolean;
UPDATE orders SET status = 'checked' WHERE id = 1;
