"""People's files, NDJSON, CSV and Parquet, to JSON lines: typed on the way, bad rows kept with their line."""
