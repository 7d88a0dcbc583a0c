ALTER TABLE orders ALTER COLUMN note TYPE varchar(3) USING note::varchar(3);
