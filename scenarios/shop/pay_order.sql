-- A payment comes in for an order.
\set id sample(orders.id)
\set cents random(100, 50000)
BEGIN;
UPDATE orders
SET status = 'paid', updated_at = now()
WHERE id = :id;
INSERT INTO payments (order_id, method, amount)
VALUES (:id, 'card', :cents::numeric / 100);
COMMIT;
