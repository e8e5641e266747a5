"""Secrets of the platform itself, OAuth grants of add-ons, and tickets that work once."""

from __future__ import annotations

import sqlalchemy as sa

from platform_core.base.ids import fingerprint, new_secret
from platform_core.store.tables import grants, platform_secrets, used_tickets

GRANT_CODE = "code"
GRANT_REFRESH = "refresh"


def platform_secret(connection: sa.Connection, name: str) -> str:
    """Return the platform's secret of that name, made on first use."""
    query = sa.select(platform_secrets.c.value).where(platform_secrets.c.name == name)
    value = connection.execute(query).scalar()
    if value is None:
        value = new_secret()
        connection.execute(sa.insert(platform_secrets).values(name=name, value=value))
    return str(value)


def add_grant(
    connection: sa.Connection, secret: str, addon_id: str, kind: str, expires_at: float | None
) -> None:
    """Record an OAuth code or refresh token by its SHA-256."""
    connection.execute(
        sa.insert(grants).values(
            secret_sha256=fingerprint(secret), addon_id=addon_id, kind=kind, expires_at=expires_at
        )
    )


def find_grant(connection: sa.Connection, secret: str, kind: str, at: float) -> str | None:
    """Return the add-on that a live code or refresh token is for."""
    where = (grants.c.secret_sha256 == fingerprint(secret)) & (grants.c.kind == kind)
    row = connection.execute(sa.select(grants).where(where)).one_or_none()
    if row is None or (row.expires_at is not None and row.expires_at <= at):
        return None
    return str(row.addon_id)


def delete_grant(connection: sa.Connection, secret: str) -> None:
    """Spend a grant."""
    connection.execute(sa.delete(grants).where(grants.c.secret_sha256 == fingerprint(secret)))


def use_ticket(connection: sa.Connection, nonce: str, expires_at: float, at: float) -> bool:
    """Spend a ticket; False when it was spent before. Nonces are kept until their ticket has expired."""
    connection.execute(sa.delete(used_tickets).where(used_tickets.c.expires_at <= at))
    if connection.execute(sa.select(used_tickets).where(used_tickets.c.nonce == nonce)).first():
        return False
    connection.execute(sa.insert(used_tickets).values(nonce=nonce, expires_at=expires_at))
    return True
