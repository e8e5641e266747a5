"""The vendor: provisioning, ingest, warehouse, SQL, schedules, and the HTTP surfaces that clients use."""
