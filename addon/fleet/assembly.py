"""Puts a node's fleet rooms together; the composition root makes one where the database is a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.fleet.barrier import FleetIngestor
from addon.fleet.membership import Membership, Place, identity
from addon.fleet.peers import Peers
from addon.store.claims import SqlUploadClaims
from addon.store.nodes import LeaseStore, NodeStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from addon.ingest.service import IngestService
    from addon.store.database import Database
    from platform_core.base.clock import Clock

NODE, _FLEET = "node", "fleet"
_UPKEEP, _UPKEEP_S = "upkeep", 180.0
"""A lease that is asked for every minute."""


class Fleet:
    """What a node has beyond a single process: its id, claims and leases first, the rest by ``join``."""

    def __init__(self, database: Database, clock: Clock, folder: Path, shared: Path, secret: str) -> None:
        """Take the node's own folder, the shared one, and the secret that all nodes derive alike."""
        self.me = identity(folder / NODE)
        self.secret = secret
        self.nodes = NodeStore(database, clock)
        self.leases = LeaseStore(database, clock, self.me)
        self.claims = SqlUploadClaims(database, clock, self.me)
        self._peers = Peers(secret, clock)
        self._belonging = f"{secret}:{identity(shared / _FLEET)}"
        self._membership: Membership | None = None
        self._barrier: FleetIngestor | None = None

    def upkeep_lease(self) -> bool:
        """Tell whether this node does the fleet's upkeep now; blocking."""
        return self.leases.take(_UPKEEP, _UPKEEP_S)

    async def forget(self, account_id: int) -> Sequence[str]:
        """Have the other nodes drop what they keep of an account; return those that do not answer."""
        return () if self._barrier is None else await self._barrier.forget(account_id)

    def join(
        self, log_of_mine: IngestService | None, url: str, roles: frozenset[str], *, refuse: bool
    ) -> tuple[FleetIngestor, FleetIngestor]:
        """Return the barrier for queries, and one for deletions, which never waits for a dead node."""
        place = Place(self.me, url, roles, self._belonging)
        self._membership = Membership(self.nodes, place, log_of_mine, self.claims)
        self._barrier = FleetIngestor(log_of_mine, self.nodes, self._peers, self.me)
        strict = FleetIngestor(log_of_mine, self.nodes, self._peers, self.me, refuse=refuse)
        return strict, self._barrier

    async def start(self) -> None:
        """Register the node, after its log was recovered.

        Raises:
            InvalidInput: it does not belong to this fleet.
            Unavailable: the database is away.
        """
        if self._membership is not None:
            await self._membership.start()

    async def close(self) -> None:
        """Leave, after the log was closed."""
        if self._membership is not None:
            await self._membership.close()
        await self._peers.close()
