"""Slugs: what builds made. The bytes are in the slug store; here is what is known of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from platform_core.models.apps import Slug
from platform_core.store.tables import slugs


def add_slug(connection: sa.Connection, slug: Slug) -> None:
    """Record a slug that a build has stored."""
    connection.execute(
        sa.insert(slugs).values(
            id=slug.id,
            app_id=slug.app_id,
            sha256=slug.sha256,
            size=slug.size,
            commit=slug.commit,
            process_types=dict(slug.process_types),
            buildpack=slug.buildpack,
            created_at=slug.created_at,
        )
    )


def slug_of(row: Any) -> Slug:
    """Read a slug from a row of its table."""
    return Slug(
        id=row.id,
        app_id=row.app_id,
        sha256=row.sha256,
        size=row.size,
        commit=row.commit,
        process_types=row.process_types,
        buildpack=row.buildpack,
        created_at=row.created_at,
    )


def get_slug(connection: sa.Connection, slug_id: str) -> Slug | None:
    """Return a slug by its id."""
    row = connection.execute(sa.select(slugs).where(slugs.c.id == slug_id)).one_or_none()
    return None if row is None else slug_of(row)


def latest_slug(connection: sa.Connection, app_id: str) -> Slug | None:
    """Return an app's newest slug."""
    query = sa.select(slugs).where(slugs.c.app_id == app_id).order_by(slugs.c.created_at.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else slug_of(row)


def slug_hashes(connection: sa.Connection) -> set[str]:
    """Return the SHA-256 of all bytes that some app's slug points at, so that they must stay."""
    return set(connection.execute(sa.select(slugs.c.sha256).distinct()).scalars())
