ALTER TABLE orders DISABLE TRIGGER ALL;
UPDATE orders SET customer_id = 1 WHERE customer_id = 2;
