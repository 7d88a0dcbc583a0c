-- A customer looks at one order and what is in it.
\set id sample(orders.id)
SELECT o.id, o.status, o.total, o.currency, o.delivery_country, o.note, o.created_at, c.full_name
FROM orders o
JOIN customers c ON c.id = o.customer_id
WHERE o.id = :id;
SELECT i.line, i.quantity, i.unit_price, p.sku, p.title
FROM order_items i
JOIN products p ON p.id = i.product_id
WHERE i.order_id = :id
ORDER BY i.line;
