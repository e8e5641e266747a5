"""Alembic's entry point: the caller hands over an open connection, so no URL is configured here."""

from __future__ import annotations

from alembic import context

from addon.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
context.run_migrations()
