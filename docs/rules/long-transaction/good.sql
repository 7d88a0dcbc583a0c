DO $$
DECLARE
    first bigint := 0;
    last bigint := (SELECT coalesce(max(id), 0) FROM orders);
BEGIN
    WHILE first <= last LOOP
        UPDATE orders SET status = 'archived'
        WHERE id BETWEEN first AND first + 4999
          AND (created_at < now() - interval '1 year' OR status IS NULL);
        COMMIT;
        PERFORM pg_sleep(0.1);
        first := first + 5000;
    END LOOP;
END $$;
