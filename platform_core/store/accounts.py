"""Accounts, and the authorizations (API keys, vendors' access tokens) that speak for them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from platform_core.base.ids import fingerprint, new_uuid
from platform_core.models.access import Authorization
from platform_core.models.apps import Account
from platform_core.models.missing import Missing
from platform_core.store.tables import accounts, authorizations


def account_of(row: Any) -> Account:
    """Read an account from a row with its columns."""
    return Account(row.id, row.email, row.name)


def ensure_account(connection: sa.Connection, email: str, at: float) -> Account:
    """Return the account with this address, made when there is none."""
    row = connection.execute(sa.select(accounts).where(accounts.c.email == email)).one_or_none()
    if row is not None:
        return account_of(row)
    account = Account(new_uuid(), email, email.partition("@")[0])
    connection.execute(
        sa.insert(accounts).values(id=account.id, email=email, name=account.name, created_at=at)
    )
    return account


def ensure_key(connection: sa.Connection, account: Account, key: str, at: float) -> None:
    """Make ``key`` an API key of the account; nothing happens when it is one already."""
    if find_authorization(connection, key, at) is None:
        add_authorization(connection, key, "API key", at, account_id=account.id)


def add_authorization(
    connection: sa.Connection,
    token: str,
    description: str,
    at: float,
    *,
    account_id: str | None = None,
    addon_id: str | None = None,
    expires_at: float | None = None,
) -> str:
    """Record a new token by its SHA-256 and return the authorization's id."""
    new_id = new_uuid()
    connection.execute(
        sa.insert(authorizations).values(
            id=new_id,
            description=description,
            token_sha256=fingerprint(token),
            account_id=account_id,
            addon_id=addon_id,
            created_at=at,
            expires_at=expires_at,
        )
    )
    return new_id


def _select() -> sa.Select[Any]:
    return sa.select(authorizations, accounts.c.email, accounts.c.name).outerjoin(
        accounts, accounts.c.id == authorizations.c.account_id
    )


def _authorization_of(row: Any) -> Authorization:
    account = Account(row.account_id, row.email, row.name) if row.account_id else None
    return Authorization(row.id, row.description, account, row.addon_id, row.created_at, row.expires_at)


def find_authorization(connection: sa.Connection, token: str, at: float) -> Authorization | None:
    """Return the live authorization of a token. Found by its hash, so no comparison leaks timing."""
    query = _select().where(authorizations.c.token_sha256 == fingerprint(token))
    row = connection.execute(query).one_or_none()
    if row is None or (row.expires_at is not None and row.expires_at <= at):
        return None
    return _authorization_of(row)


def list_authorizations(connection: sa.Connection, account_id: str) -> list[Authorization]:
    """Return an account's authorizations, oldest first."""
    query = _select().where(authorizations.c.account_id == account_id).order_by(authorizations.c.created_at)
    return [_authorization_of(row) for row in connection.execute(query)]


def delete_authorization(connection: sa.Connection, account_id: str, authorization_id: str) -> bool:
    """Revoke one of the account's tokens; False when it has no such authorization."""
    where = (authorizations.c.id == authorization_id) & (authorizations.c.account_id == account_id)
    return connection.execute(sa.delete(authorizations).where(where)).rowcount > 0


def get_account(connection: sa.Connection, account_id: str) -> Account:
    """Return an account by its id.

    Raises:
        Missing: there is none.
    """
    row = connection.execute(sa.select(accounts).where(accounts.c.id == account_id)).one_or_none()
    if row is None:
        raise Missing("account", "Couldn't find that account.")
    return account_of(row)
