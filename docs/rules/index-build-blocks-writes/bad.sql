CREATE INDEX orders_created_at_idx ON orders (created_at);
ALTER TABLE customers ADD CONSTRAINT customers_email_key UNIQUE (email);
