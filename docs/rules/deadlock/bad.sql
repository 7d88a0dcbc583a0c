-- the application writes customers first, and then orders
BEGIN;
UPDATE orders SET status = 'checked' WHERE id = 1;
ALTER TABLE customers ADD COLUMN checked boolean;
COMMIT;
