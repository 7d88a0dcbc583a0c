-- A customer places an order of two lines.
\set customer_id sample(customers.id)
\set country sample(customers.country)
\set product_id sample(products.id)
\set price sample(products.price)
\set first random(1, 5)
\set second random(1, 3)
BEGIN;
INSERT INTO orders (customer_id, status, total, currency, delivery_country)
VALUES (:customer_id, 'new', :price::numeric * (:first::integer + :second::integer), 'EUR', :country)
RETURNING id AS order_id \gset
INSERT INTO order_items (order_id, line, product_id, quantity, unit_price)
VALUES (:order_id, 1, :product_id, :first, :price), (:order_id, 2, :product_id, :second, :price);
COMMIT;
