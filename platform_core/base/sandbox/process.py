"""A running sandbox as the library sees it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from platform_core.base.errors import Unavailable
from platform_core.base.sandbox.cgroups import memory_in_use
from platform_core.base.sandbox.netsockets import LOOPBACK, listen_here

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

    from platform_core.base.sandbox.messages import Message
    from platform_core.base.sandbox.spec import ExitStatus

_POOL_SIZE = 32
_POOL_LOW = 8
_NOBODY_THERE = {errno.ECONNREFUSED, errno.ENETUNREACH, errno.ENETDOWN}
"""What connect says before the program listens, or before bubblewrap has brought the loopback up."""


class Spawner(Protocol):
    """The part of the client that a process needs."""

    async def request(self, message: Message, descriptors: Sequence[int] = ()) -> tuple[Message, list[int]]:
        """Send a request and return its answer."""

    def post(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a request that has no answer."""


class SpawnedProcess:
    """The `SandboxProcess` of every driver."""

    def __init__(self, spawner: Spawner, pid: int, cgroup: str | None, *, own_network: bool) -> None:
        """Stand for process ``pid``; ``cgroup`` is the folder of its memory controller."""
        self._spawner = spawner
        self._pid = pid
        self._memory = None if cgroup is None else Path(cgroup)
        self._own_network = own_network
        self._end: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._pool: deque[socket.socket] = deque()
        self._refill: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The host pid of the outermost process."""
        return self._pid

    async def wait(self) -> ExitStatus:
        """Wait for the end; may be called by several tasks and after it."""
        return await asyncio.shield(self._end)

    def ended(self, status: ExitStatus) -> None:
        """Take note of the end; called by the client."""
        if not self._end.done():
            self._end.set_result(status)
        if self._refill is not None:
            self._refill.cancel()
        while self._pool:
            self._pool.pop().close()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the payload (not to the sandbox's own)."""
        self._post({"op": "signal", "pid": self._pid, "number": int(number)})

    def kill(self) -> None:
        """End everything inside at once."""
        self._post({"op": "kill", "pid": self._pid})

    def memory_usage(self) -> int | None:
        """Bytes of memory in use now, or None where it cannot be measured."""
        return None if self._end.done() else memory_in_use(self._memory)

    async def connect(self, port: int) -> socket.socket:
        """Return a non-blocking socket connected to 127.0.0.1:``port`` as the process sees it.

        Raises:
            ConnectionRefusedError: nothing listens there (yet), or the process has ended.
        """
        made = await self._unconnected()
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(made, (LOOPBACK, port))
        except OSError as error:
            made.close()
            if error.errno in _NOBODY_THERE:
                raise ConnectionRefusedError(error.errno, f"nothing listens on port {port}") from error
            raise
        except BaseException:
            made.close()
            raise
        return made

    async def listen(self, port: int) -> socket.socket:
        """Return a non-blocking listening socket on 127.0.0.1:``port`` inside the process's network.

        Raises:
            Unavailable: the port is taken there.
        """
        if self._own_network:
            message: Message = {"op": "listen", "pid": self._pid, "port": port}
            _answer, descriptors = await self._spawner.request(message)
            listener = socket.socket(fileno=descriptors[0])
        else:
            try:
                listener = listen_here(port)
            except OSError as error:
                raise Unavailable(f"Port {port} cannot be listened on: {error}.") from error
        listener.setblocking(False)
        return listener

    def _post(self, message: Message) -> None:
        if not self._end.done():
            with contextlib.suppress(Unavailable):  # the spawner is gone, and so is what it ran
                self._spawner.post(message)

    async def _unconnected(self) -> socket.socket:
        if not self._own_network:
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        while not self._pool:
            if self._end.done():
                raise ConnectionRefusedError(errno.ECONNREFUSED, "the process has ended")
            await asyncio.shield(self._start_refill())
        made = self._pool.popleft()
        if len(self._pool) < _POOL_LOW:
            self._start_refill()
        return made

    def _start_refill(self) -> asyncio.Task[None]:
        if self._refill is None or self._refill.done():
            self._refill = asyncio.get_running_loop().create_task(self._fill())
        return self._refill

    async def _fill(self) -> None:
        """Fetch ready-made sockets of the process's network from the spawner."""
        message: Message = {"op": "sockets", "pid": self._pid, "count": _POOL_SIZE}
        try:
            _answer, descriptors = await self._spawner.request(message)
        except Unavailable:
            return  # it has ended, or is about to: the loop in _unconnected looks again
        fresh = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if self._end.done():
            for one in fresh:
                one.close()
        else:
            self._pool.extend(fresh)
