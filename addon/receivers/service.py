"""All receivers of a process: made by the composition root, started on its sockets, closed before the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from addon.models.receivers import ReceiverStats
from addon.receivers.delivery import Delivery
from addon.receivers.forward import ForwardReceiver
from addon.receivers.limits import ReceiverLimits
from addon.receivers.listener import Handler, Listener
from addon.receivers.senders import Senders
from addon.receivers.syslog import SyslogReceiver

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping

    from addon.models.ingest import Ingestor
    from addon.provisioning.quotas import Quotas
    from addon.store.accounts import AccountStore
    from addon.store.resources import ResourceStore
    from platform_core.base.clock import Clock


class Way(StrEnum):
    """The ways in over TCP."""

    SYSLOG = "syslog"
    SYSLOG_TLS = "syslog_tls"
    FORWARD = "forward"
    FORWARD_LOCAL = "forward_local"
    """Without a key, for one account; on loopback only."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the receivers work with."""

    accounts: AccountStore
    resources: ResourceStore
    ingestor: Ingestor
    quotas: Quotas
    clock: Clock
    forward_key: Callable[[int], str]
    """An account's forward key by its number."""


class Receivers:
    """``start`` each way on a bound socket, ``close`` all."""

    def __init__(self, rooms: Rooms, limits: ReceiverLimits | None = None) -> None:
        """Nothing listens yet."""
        self._rooms = rooms
        self._limits = limits or ReceiverLimits()
        self._listeners: list[Listener] = []
        self.stats: Mapping[str, ReceiverStats] = {way.value: ReceiverStats() for way in Way}

    async def start(
        self,
        way: Way,
        listener: socket.socket,
        tls: ssl.SSLContext | None = None,
        *,
        local_account: int | None = None,
    ) -> None:
        """Accept connections on ``listener``. ``local_account`` is whose rows FORWARD_LOCAL's are."""
        stats = self.stats[way.value]
        made = Listener(way.value, self._handler(way, stats, local_account), self._limits, stats)
        self._listeners.append(made)
        await made.start(listener, tls)

    def _handler(self, way: Way, stats: ReceiverStats, local_account: int | None) -> Handler:
        rooms = self._rooms
        delivery = Delivery(rooms.ingestor, rooms.quotas, rooms.clock, self._limits, stats)
        if way in {Way.SYSLOG, Way.SYSLOG_TLS}:
            return SyslogReceiver(Senders(rooms.accounts, rooms.resources), delivery)
        if way is Way.FORWARD:
            return ForwardReceiver(rooms.accounts, rooms.forward_key, delivery)
        if local_account is None:
            raise ValueError("FORWARD_LOCAL needs an account")
        return ForwardReceiver(rooms.accounts, rooms.forward_key, delivery, local=local_account)

    async def close(self) -> None:
        """Accept and read no more; store what was read."""
        await asyncio.gather(*(listener.close() for listener in self._listeners))
