"""The nodes of a fleet, as their heartbeats describe them, and leases on work that one does at a time.

Times are the nodes' own clocks. Nothing exact hangs on them: a node that is taken for dead too early is asked
to try again, and two holders of one lease are kept apart by the commits of the tables themselves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.store.database import insert_ignoring
from addon.store.schema import LEASES, NODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.store.database import Database
    from platform_core.base.clock import Clock

BEAT_S = 2.0
NODE_LEASE_S = 10.0
"""A node that sent no heartbeat for this long is taken for dead."""
_UP, _LEFT = "up", "left"


@dataclass(frozen=True, slots=True)
class Node:
    """A process of the fleet."""

    id: str
    url: str
    """Where its HTTP listener is reached by the others."""
    roles: frozenset[str]
    left: bool
    """It stopped in order: nothing is left in its write-ahead log."""
    alive: bool
    seen_at: float
    """Unix seconds of its last heartbeat."""
    unflushed: Mapping[str, int]
    """Acknowledged batches that were not in the warehouse at its last heartbeat, by account id."""


class NodeStore:
    """Which nodes there are."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock

    def beat(
        self, node: str, url: str, roles: frozenset[str], credentials: str, unflushed: Mapping[int, int]
    ) -> None:
        """Say that a node lives; ``credentials`` is the fingerprint of the fleet's shared secret."""
        now = self._clock.now()
        values: dict[str, Any] = {
            "url": url,
            "roles": ",".join(sorted(roles)),
            "state": _UP,
            "lease_until": now + NODE_LEASE_S,
            "unflushed": json.dumps({str(account): count for account, count in unflushed.items()}),
            "credentials": credentials,
            "seen_at": now,
        }
        with self._database.write() as connection:
            found = connection.execute(sa.update(NODES).where(NODES.c.id == node).values(values)).rowcount
            if not found:
                insert_ignoring(connection, NODES, [{"id": node, "started_at": now, **values}])

    def leave(self, node: str, *, drained: bool) -> None:
        """Say that a node stops; ``drained`` when its write-ahead log is empty."""
        values: dict[str, Any] = {"lease_until": 0.0, "seen_at": self._clock.now()}
        if drained:
            values |= {"state": _LEFT, "unflushed": "{}"}
        with self._database.write() as connection:
            connection.execute(sa.update(NODES).where(NODES.c.id == node).values(values))

    def forget(self, node: str) -> bool:
        """Remove a node that does not come back; False when there is none of this id, or when it lives."""
        dead = sa.and_(NODES.c.id == node, NODES.c.lease_until < self._clock.now())
        with self._database.write() as connection:
            return connection.execute(sa.delete(NODES).where(dead)).rowcount == 1

    def all(self) -> list[Node]:
        """Return every node, those that left included."""
        with self._database.read() as connection:
            return [self._node(row) for row in connection.execute(sa.select(NODES).order_by(NODES.c.id))]

    def strangers(self, credentials: str) -> list[str]:
        """Return the URLs of living nodes whose shared secret is another than ours."""
        other = sa.and_(NODES.c.credentials != credentials, NODES.c.lease_until >= self._clock.now())
        with self._database.read() as connection:
            return list(connection.execute(sa.select(NODES.c.url).where(other)).scalars())

    def _node(self, row: Any) -> Node:
        return Node(
            id=row.id,
            url=row.url,
            roles=frozenset(row.roles.split(",")),
            left=row.state == _LEFT,
            alive=row.lease_until >= self._clock.now(),
            seen_at=row.seen_at,
            unflushed=json.loads(row.unflushed),
        )


class LeaseStore:
    """Leases by name."""

    def __init__(self, database: Database, clock: Clock, holder: str) -> None:
        """Take leases for ``holder``."""
        self._database = database
        self._clock = clock
        self._holder = holder

    def take(self, name: str, ttl_s: float) -> bool:
        """Take or extend a lease for ``ttl_s`` seconds; False while another holder has it."""
        now = self._clock.now()
        ours = {"holder": self._holder, "lease_until": now + ttl_s}
        may = sa.and_(
            LEASES.c.name == name,
            sa.or_(LEASES.c.holder == self._holder, LEASES.c.lease_until < now),
        )
        with self._database.write() as connection:
            if connection.execute(sa.update(LEASES).where(may).values(ours)).rowcount:
                return True
            return insert_ignoring(connection, LEASES, [{"name": name, **ours}]) == 1

    def give_back(self, name: str) -> None:
        """End a lease of ours early."""
        mine = sa.and_(LEASES.c.name == name, LEASES.c.holder == self._holder)
        with self._database.write() as connection:
            connection.execute(sa.delete(LEASES).where(mine))
