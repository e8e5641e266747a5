"""A listening socket and its connections: counts and limits them, stops them without losing what was read."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from addon.receivers.inflow import Inflow
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    import socket
    import ssl

    from addon.models.receivers import ReceiverStats
    from addon.receivers.limits import ReceiverLimits

CONNECTION_REFUSED = "receiver_connection_refused"
CONNECTION_FAILED = "receiver_connection_failed"
UNSTORED = "receiver_stopped_with_unstored_data"
_HANDSHAKE_S = 10.0

log = get_logger(__name__)


class Refused(Exception):
    """The connection is closed because of what came over it; the message says why, without secrets."""


class Handler(Protocol):
    """What is done with a connection: read, store, answer, until it ends."""

    async def __call__(self, flow: Inflow) -> None:
        """Serve one connection.

        Raises:
            Refused: the sender broke a rule; the listener logs it and closes.
        """


class Listener:
    """``start`` on a bound socket, ``close`` to end; one handler serves every connection."""

    def __init__(self, name: str, handler: Handler, limits: ReceiverLimits, stats: ReceiverStats) -> None:
        """Name the receiver for the log."""
        self.name = name
        self._handler = handler
        self._limits = limits
        self._stats = stats
        self._server: asyncio.Server | None = None
        self._running: dict[asyncio.Task[None], Inflow] = {}
        self._peers: Counter[str] = Counter()

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections on a bound socket, with TLS when a context is given."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Inflow(self._limits.ahead_bytes, self._opened),
            sock=listener,
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE_S if tls is not None else None,
        )

    async def close(self) -> None:
        """Accept and read no more, store what was read, and end; what cannot be stored in time is logged."""
        if self._server is not None:
            self._server.close()
        for flow in self._running.values():
            flow.stop()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=self._limits.grace_s)
            for task in late:
                task.cancel()
            if late:
                log.error(UNSTORED, receiver=self.name, connections=len(late))
                await asyncio.wait(late)

    def _opened(self, flow: Inflow) -> None:
        full = self._over_limit(flow.peer)
        if full:
            self._stats.connections_refused += 1
            log.warning(CONNECTION_REFUSED, receiver=self.name, peer=flow.peer, reason=full)
            flow.abort()
            return
        self._stats.connections += 1
        self._peers[flow.peer] += 1
        task = asyncio.get_running_loop().create_task(self._serve(flow), name=f"{self.name}-connection")
        self._running[task] = flow
        task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[None]) -> None:
        peer = self._running.pop(task).peer
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]

    def _over_limit(self, peer: str) -> str:
        if len(self._running) >= self._limits.connections:
            return f"there are {self._limits.connections} connections"
        if self._peers[peer] >= self._limits.connections_per_peer:
            return f"there are {self._limits.connections_per_peer} connections from this address"
        return ""

    async def _serve(self, flow: Inflow) -> None:
        try:
            await self._handler(flow)
        except Refused as refused:
            self._stats.connections_refused += 1
            log.warning(CONNECTION_REFUSED, receiver=self.name, peer=flow.peer, reason=str(refused))
        except TimeoutError:
            log.info(CONNECTION_REFUSED, receiver=self.name, peer=flow.peer, reason="idle")
        except Exception:
            self._stats.connections_refused += 1
            log.exception(CONNECTION_FAILED, receiver=self.name, peer=flow.peer)
        finally:
            flow.close()
