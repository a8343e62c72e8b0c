"""A private PostgreSQL server, for machines where nobody runs one."""
