-- gives room back to the table; what it grows by next needs no more disk
VACUUM orders;
