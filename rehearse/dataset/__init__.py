"""What is in the database: rows planned from its schema, generated, and loaded at COPY speed."""
