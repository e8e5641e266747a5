"""The analyses: pure functions from tables to tables, the same on DuckDB and on Spark."""
