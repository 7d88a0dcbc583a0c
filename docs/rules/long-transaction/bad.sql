UPDATE orders SET status = 'archived' WHERE created_at < now() - interval '1 year' OR status IS NULL;
