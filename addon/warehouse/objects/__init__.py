"""The adapters of the object store's port: a local folder, and an S3-compatible bucket behind a cache."""
