"""PostgreSQL: an embedded server and the migrations of the schema."""
