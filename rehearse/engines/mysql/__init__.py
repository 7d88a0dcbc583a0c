"""MySQL and MariaDB: all that is particular to them."""
