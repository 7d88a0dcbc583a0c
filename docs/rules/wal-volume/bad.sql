UPDATE orders SET status = coalesce(status, 'new');
