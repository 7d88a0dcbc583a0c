"""A statistical twin: a profile taken of one database, and rows for another that has the same one."""
