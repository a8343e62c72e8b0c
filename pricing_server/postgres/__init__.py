"""PostgreSQL. The only package that knows psycopg."""
