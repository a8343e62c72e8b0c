"""Migrations, checks, and what a server keeps in order by itself."""
