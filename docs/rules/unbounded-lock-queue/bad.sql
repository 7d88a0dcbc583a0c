ALTER TABLE orders ADD COLUMN priority int;
