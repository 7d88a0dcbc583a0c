-- The list of a customer's last orders.
\set customer_id sample(orders.customer_id)
SELECT id, status, total, currency, created_at
FROM orders
WHERE customer_id = :customer_id
ORDER BY created_at DESC
LIMIT 20;
