UPDATE orders SET note = lower(note);
