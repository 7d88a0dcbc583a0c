-- fails: many orders have the same customer
ALTER TABLE orders ADD CONSTRAINT orders_customer_id_key UNIQUE (customer_id);
