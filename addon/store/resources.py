"""Add-on resources, their drain credentials and their tombstones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.accounts import AccountState, Right
from addon.models.resources import Provision, Resource
from addon.store.accounts import account_from_row, insert_account, insert_key
from addon.store.database import Turn, take_turn
from addon.store.recent import Recent
from addon.store.schema import ACCOUNTS, API_KEYS, RESOURCES
from platform_core.base.ids import fingerprint, same_secret

if TYPE_CHECKING:
    from addon.store.database import Database
    from platform_core.base.clock import Clock

_JOINED = sa.select(
    ACCOUNTS,
    RESOURCES.c.uuid,
    RESOURCES.c.drain_user,
    RESOURCES.c.drain_secret_fingerprint,
    RESOURCES.c.log_drain_token,
    RESOURCES.c.deprovisioned_at,
).join(ACCOUNTS, ACCOUNTS.c.id == RESOURCES.c.account_id)


def _resource(row: Any) -> Resource:
    return Resource(
        uuid=row.uuid,
        account=account_from_row(row),
        drain_user=row.drain_user,
        log_drain_token=row.log_drain_token,
        deprovisioned=row.deprovisioned_at is not None,
    )


class ResourceStore:
    """Resources by uuid."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock
        self._rows: Recent[Any] = Recent(clock)

    def get(self, uuid: str) -> Resource | None:
        """Return a resource, also a deprovisioned one; None when it never was."""
        row = self._row(uuid)
        return None if row is None else _resource(row)

    def by_drain_token(self, token: str) -> Resource | None:
        """Return the resource that a platform gave this drain token; None when there is none."""
        row = self._rows.get(("drain", fingerprint(token)), lambda: self._look_up_drain(token))
        return None if row is None else _resource(row)

    def _look_up_drain(self, token: str) -> Any:
        newest = _JOINED.where(RESOURCES.c.log_drain_token == token).order_by(RESOURCES.c.created_at.desc())
        with self._database.read() as connection:
            return connection.execute(newest.limit(1)).one_or_none()

    def _row(self, uuid: str) -> Any:
        return self._rows.get(uuid, lambda: self._look_up(uuid))

    def _look_up(self, uuid: str) -> Any:
        with self._database.read() as connection:
            return connection.execute(_JOINED.where(RESOURCES.c.uuid == uuid)).one_or_none()

    def provision(
        self, wanted: Provision, *, key_secret: str, drain_user: str, drain_secret: str
    ) -> tuple[Resource, bool]:
        """Make a resource with its account and master key in one transaction, unless its uuid is known.

        Returns:
            The resource as it now is, and whether this call made it.
        """
        now = self._clock.now()
        created = False
        with self._database.write() as connection:
            take_turn(connection, Turn.PROVISION)
            known = connection.execute(_JOINED.where(RESOURCES.c.uuid == wanted.uuid)).one_or_none()
            if known is None:
                created = True
                account_id = insert_account(
                    connection, resource_uuid=wanted.uuid, name=wanted.name, plan=wanted.plan, now=now
                )
                insert_key(connection, account_id, f"{account_id}/{key_secret}", Right.MASTER, now)
                row = {
                    "uuid": wanted.uuid,
                    "account_id": account_id,
                    "drain_user": drain_user,
                    "drain_secret_fingerprint": fingerprint(drain_secret),
                    "log_drain_token": wanted.log_drain_token,
                    "region": wanted.region,
                    "callback_url": wanted.callback_url,
                    "options": wanted.options,
                    "created_at": now,
                }
                connection.execute(sa.insert(RESOURCES).values(row))
                known = connection.execute(_JOINED.where(RESOURCES.c.uuid == wanted.uuid)).one()
        self._rows.forget()
        return _resource(known), created

    def change_plan(self, uuid: str, plan: str) -> None:
        """Set the plan of the resource's account."""
        same = ACCOUNTS.c.resource_uuid == uuid
        with self._database.write() as connection:
            connection.execute(sa.update(ACCOUNTS).where(same).values(plan=plan))
        self._rows.forget()

    def deprovision(self, uuid: str) -> None:
        """Turn the resource into a tombstone: its keys are gone, its account is closed."""
        now = self._clock.now()
        mine = sa.select(RESOURCES.c.account_id).where(RESOURCES.c.uuid == uuid).scalar_subquery()
        live = sa.and_(RESOURCES.c.uuid == uuid, RESOURCES.c.deprovisioned_at.is_(None))
        with self._database.write() as connection:
            connection.execute(sa.delete(API_KEYS).where(API_KEYS.c.account_id == mine))
            closed = {"state": AccountState.DEPROVISIONED.value}
            connection.execute(sa.update(ACCOUNTS).where(ACCOUNTS.c.id == mine).values(closed))
            connection.execute(sa.update(RESOURCES).where(live).values(deprovisioned_at=now))
        self._rows.forget()

    def unpurged(self) -> list[Resource]:
        """Return the deprovisioned resources whose data may not be gone yet."""
        waiting = sa.and_(RESOURCES.c.deprovisioned_at.is_not(None), RESOURCES.c.purged_at.is_(None))
        with self._database.read() as connection:
            return [_resource(row) for row in connection.execute(_JOINED.where(waiting))]

    def purged(self, uuid: str) -> None:
        """Note that a deprovisioned resource's data is gone, and let the database forget its pages."""
        gone = sa.update(RESOURCES).where(RESOURCES.c.uuid == uuid).values(purged_at=self._clock.now())
        with self._database.write() as connection:
            connection.execute(gone)
        self._database.forget_old_pages()

    def drain_secret_matches(self, uuid: str, user: str, secret: str) -> bool:
        """Tell whether these are the drain credentials of the resource; compared in constant time."""
        row = self._row(uuid)
        if row is None:
            return False
        user_right = same_secret(user, row.drain_user)
        return same_secret(fingerprint(secret), row.drain_secret_fingerprint) and user_right
