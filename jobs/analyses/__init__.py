"""The analyses: one file each, pure functions from tables to tables on an engine."""
