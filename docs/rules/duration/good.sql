-- the rows are filled in batches, after the deployment and outside of it
SET lock_timeout = '2s';
ALTER TABLE orders ADD COLUMN year int;
