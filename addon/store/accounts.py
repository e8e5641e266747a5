"""Accounts and their API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.accounts import PLANS, Account, AccountState, Identity, Right
from addon.store.database import Database, Turn, insert_ignoring, take_turn
from addon.store.recent import Recent
from addon.store.schema import ACCOUNTS, API_KEYS
from platform_core.base.errors import NotFound
from platform_core.base.ids import fingerprint, new_secret

if TYPE_CHECKING:
    from platform_core.base.clock import Clock

_SHOWN_CHARACTERS = 8


def account_from_row(row: Any) -> Account:
    """Build an account from a row of the accounts table."""
    return Account(
        id=row.id,
        resource_uuid=row.resource_uuid,
        name=row.name,
        plan=PLANS[row.plan],
        state=AccountState(row.state),
        created_at=row.created_at,
    )


def insert_account(
    connection: sa.Connection, *, resource_uuid: str | None, name: str, plan: str, now: float
) -> int:
    """Insert an account within a caller's transaction and return its id."""
    values = {
        "resource_uuid": resource_uuid,
        "name": name,
        "plan": plan,
        "state": AccountState.PROVISIONED.value,
        "created_at": now,
    }
    statement = sa.insert(ACCOUNTS).values(values).returning(ACCOUNTS.c.id)
    return int(connection.execute(statement).scalar_one())


def insert_key(connection: sa.Connection, account_id: int, key: str, right: Right, now: float) -> None:
    """Keep the fingerprint of ``key`` within a caller's transaction; a key that is there stays as it is."""
    row = {
        "fingerprint": fingerprint(key),
        "account_id": account_id,
        "access_right": right.value,
        "prefix": key[: key.index("/") + 1 + _SHOWN_CHARACTERS],
        "created_at": now,
    }
    insert_ignoring(connection, API_KEYS, [row])


class AccountStore:
    """Accounts by id and by key."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock
        self._identities: Recent[Identity | None] = Recent(clock)

    def identify(self, key: str) -> Identity | None:
        """Return who ``key`` belongs to; None for an unknown key. Deprovisioned accounts are returned too.

        The look-up is by hash, so its time tells nothing about other keys.
        """
        wanted = fingerprint(key)
        return self._identities.get(wanted, lambda: self._look_up(wanted))

    def _look_up(self, wanted: str) -> Identity | None:
        statement = (
            sa.select(ACCOUNTS, API_KEYS.c.access_right)
            .join(API_KEYS, API_KEYS.c.account_id == ACCOUNTS.c.id)
            .where(API_KEYS.c.fingerprint == wanted)
        )
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else Identity(account_from_row(row), Right(row.access_right))

    def forget_cached(self) -> None:
        """Look every key up anew; called after a key or an account changed."""
        self._identities.forget()

    def get(self, account_id: int) -> Account:
        """Return an account.

        Raises:
            NotFound: there is none.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(ACCOUNTS).where(ACCOUNTS.c.id == account_id)).one_or_none()
        if row is None:
            raise NotFound(f"There is no account {account_id}.")
        return account_from_row(row)

    def active(self) -> list[Account]:
        """Return every account that is not deprovisioned."""
        statement = sa.select(ACCOUNTS).where(ACCOUNTS.c.state == AccountState.PROVISIONED.value)
        with self._database.read() as connection:
            return [account_from_row(row) for row in connection.execute(statement)]

    def ensure_local(self, name: str, plan: str, secret: str) -> tuple[Account, str]:
        """Return the account ``name`` that belongs to no resource, and its master key; make what is missing.

        ``secret`` is the hex part of the key, kept by the caller, so that the call can be repeated.
        """
        now = self._clock.now()
        same = sa.and_(ACCOUNTS.c.name == name, ACCOUNTS.c.resource_uuid.is_(None))
        with self._database.write() as connection:
            take_turn(connection, Turn.PROVISION)
            found = connection.execute(sa.select(ACCOUNTS.c.id).where(same)).scalar_one_or_none()
            account_id = found or insert_account(
                connection, resource_uuid=None, name=name, plan=plan, now=now
            )
            key = f"{account_id}/{secret}"
            insert_key(connection, account_id, key, Right.MASTER, now)
        self.forget_cached()
        return self.get(account_id), key

    def add_key(self, account_id: int, right: Right) -> str:
        """Make a key; this is the only time its text is seen."""
        key = f"{account_id}/{new_secret()}"
        with self._database.write() as connection:
            insert_key(connection, account_id, key, right, self._clock.now())
        return key

    def revoke_key(self, account_id: int, key: str) -> bool:
        """Delete a key of the account; False when it is not one of its keys."""
        same = sa.and_(API_KEYS.c.account_id == account_id, API_KEYS.c.fingerprint == fingerprint(key))
        with self._database.write() as connection:
            gone = connection.execute(sa.delete(API_KEYS).where(same)).rowcount
        self.forget_cached()
        return gone == 1

    def list_keys(self, account_id: int) -> list[tuple[str, Right]]:
        """Return the shown part and the right of each key of the account, oldest first."""
        statement = (
            sa.select(API_KEYS.c.prefix, API_KEYS.c.access_right)
            .where(API_KEYS.c.account_id == account_id)
            .order_by(API_KEYS.c.created_at)
        )
        with self._database.read() as connection:
            return [(row.prefix, Right(row.access_right)) for row in connection.execute(statement)]
