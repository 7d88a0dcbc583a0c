-- The support team wants its work queue: orders by status and age, with a priority and the time at which
-- each came into the queue. And every order has to say where it goes.

CREATE INDEX orders_status_created_at_idx ON orders (status, created_at);

ALTER TABLE orders ADD COLUMN queued_at timestamptz NOT NULL DEFAULT clock_timestamp();

ALTER TABLE orders ADD COLUMN priority smallint NOT NULL DEFAULT 0
    CONSTRAINT orders_priority_check CHECK (priority BETWEEN 0 AND 9);

ALTER TABLE orders ALTER COLUMN delivery_country SET NOT NULL;
