"""Releases and rollback: the only writer of releases, and the runner of release phases."""
