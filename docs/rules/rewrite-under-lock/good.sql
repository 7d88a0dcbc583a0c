SET lock_timeout = '2s';
ALTER TABLE orders ADD COLUMN token uuid;
ALTER TABLE orders ALTER COLUMN token SET DEFAULT gen_random_uuid();

-- then, outside of the deployment, over and over with the next keys:
UPDATE orders SET token = gen_random_uuid() WHERE id BETWEEN 1 AND 5000 AND token IS NULL;
