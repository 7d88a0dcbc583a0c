UPDATE orders SET note = upper(note);
