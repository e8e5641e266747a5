"""The way in of a node of a fleet: batches go to its own log, the flush barrier goes to every node.

A node that does not answer may hold acknowledged batches. By default the caller gets its answer all the same,
with a warning that says what may be missing; with ``refuse``, there is no answer until the node is back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from addon.fleet.peers import FLUSH, FORGET, Peers
from platform_core.base.clock import iso8601
from platform_core.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.ingest.service import IngestService
    from addon.models.ingest import Ack, Batch
    from addon.store.nodes import Node, NodeStore


class FleetIngestor:
    """Implements ``Ingestor`` for a node; ``local`` is None where the process has no ingest role."""

    def __init__(
        self, local: IngestService | None, nodes: NodeStore, peers: Peers, me: str, *, refuse: bool = False
    ) -> None:
        """Take the node's own log, and what knows the others."""
        self._local = local
        self._nodes = nodes
        self._peers = peers
        self._me = me
        self._refuse = refuse

    @property
    def stats(self) -> object:
        """The counters of the node's own log; None without one."""
        return None if self._local is None else self._local.stats

    async def append(self, batch: Batch) -> Ack:
        """Make a batch durable in this node's log.

        Raises:
            Unavailable: this node takes no data, or not now.
        """
        if self._local is None:
            raise Unavailable("This process takes no data.", hint="Send it to a node with the role ingest.")
        return await self._local.append(batch)

    async def flush(self, account_id: int) -> Sequence[str]:
        """Return when every node has stored what it acked before; warnings tell who did not answer.

        Raises:
            Unavailable: a flush fails here, or a node is away and answers without it are refused.
        """
        others = await self._others()
        content = {"account_id": account_id}
        here = self._local.flush(account_id) if self._local is not None else _nothing()
        calls = self._peers.call([node for node in others if node.alive], FLUSH, content)
        _, silent = await asyncio.gather(here, calls)
        away = [*(node for node in others if not node.alive), *silent]
        warnings = [_warning(node, account_id) for node in away]
        if warnings and self._refuse:
            raise Unavailable(" ".join(warnings), hint="Retry after 5 seconds.")
        return warnings

    async def forget(self, account_id: int) -> Sequence[str]:
        """Have every other node drop what it keeps of a deprovisioned account; return who did not answer."""
        others = [node for node in await asyncio.to_thread(self._nodes.all) if self._counts(node)]
        silent = await self._peers.call(
            [node for node in others if node.alive], FORGET, {"account_id": account_id}
        )
        return [node.url for node in (*(node for node in others if not node.alive), *silent)]

    async def _others(self) -> list[Node]:
        nodes = await asyncio.to_thread(self._nodes.all)
        return [node for node in nodes if self._counts(node) and "ingest" in node.roles]

    def _counts(self, node: Node) -> bool:
        return node.id != self._me and not node.left


async def _nothing() -> None:
    """Stand in for the log of a node without one."""


def _warning(node: Node, account_id: int) -> str:
    known = node.unflushed.get(str(account_id), 0)
    return (
        f"Node {node.url} does not answer (last seen {iso8601(node.seen_at)}): {known} acknowledged batches"
        " of this account that it reported then, and those it acknowledged later, may be missing here."
    )
