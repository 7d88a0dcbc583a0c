DO $$
DECLARE
    first bigint := 0;
    last bigint := (SELECT coalesce(max(id), 0) FROM orders);
BEGIN
    WHILE first <= last LOOP
        UPDATE orders SET note = upper(note) WHERE id BETWEEN first AND first + 4999;
        COMMIT;
        PERFORM pg_sleep(0.1);
        first := first + 5000;
    END LOOP;
END $$;
