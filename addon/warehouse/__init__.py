"""Delta tables of Parquet: schemas, exact typing, durable commits, snapshots."""
