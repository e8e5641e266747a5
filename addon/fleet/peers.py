"""Calls from node to node: a signed POST, bounded in time, over connections that stay open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from addon.fleet.signing import sign
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.store.nodes import Node
    from platform_core.base.clock import Clock

FLUSH, FORGET = "/internal/flush", "/internal/forget"
CALL_S = 15.0
"""A flush under load takes seconds; a node that needs longer is treated as one that is away."""
_CONNECT_S = 2.0
PEER_AWAY = "fleet_peer_away"

log = get_logger(__name__)


class Peers:
    """The other nodes, by HTTP."""

    def __init__(self, secret: str, clock: Clock) -> None:
        """Sign with the fleet's ``secret``."""
        self._secret = secret
        self._clock = clock
        timeout = httpx.Timeout(CALL_S, connect=_CONNECT_S)
        self._client = httpx.AsyncClient(timeout=timeout, trust_env=False, verify=False)  # noqa: S501 - signed

    async def call(self, nodes: Sequence[Node], path: str, content: dict[str, Any]) -> list[Node]:
        """Post ``content`` to every node at once; return those that did not do it."""
        done = await asyncio.gather(*(self._post(node, path, content) for node in nodes))
        return [node for node, good in zip(nodes, done, strict=True) if not good]

    async def _post(self, node: Node, path: str, content: dict[str, Any]) -> bool:
        body = orjson.dumps(content)
        headers = sign(self._secret, path, body, self._clock.now())
        try:
            async with asyncio.timeout(CALL_S):
                answer = await self._client.post(node.url + path, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            log.warning(PEER_AWAY, node=node.id, url=node.url, error=type(error).__name__)
            return False
        if not answer.is_success:
            log.warning(PEER_AWAY, node=node.id, url=node.url, status=answer.status_code)
        return answer.is_success

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
