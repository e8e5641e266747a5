"""The library's side of the sandbox: starts the spawner, asks it for processes, hears of their ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from platform_core.base.errors import TooLarge, Unavailable
from platform_core.base.logs import get_logger
from platform_core.base.sandbox.isolation import detect_isolation
from platform_core.base.sandbox.messages import MAX_MESSAGE, Message, close_all, pack, receive, spec_to_wire
from platform_core.base.sandbox.process import SpawnedProcess
from platform_core.base.sandbox.spec import ExitStatus, Isolation, SandboxProcess, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAREWELL_S = 4.0
_SEND_BUFFER = 1 << 20
_ROOT = Path(__file__).resolve().parents[3]
log = get_logger(__name__)

Answer = tuple[Message, list[int]]


class SpawnerSandbox:
    """The `Sandbox` of every driver; belongs to the event loop it was started on."""

    def __init__(self, driver: str | None = None) -> None:
        """Use ``driver`` (``bwrap``, ``process``), or the strongest that works here."""
        self._isolation = detect_isolation(driver)
        self._control: socket.socket | None = None
        self._spawner: subprocess.Popen[bytes] | None = None
        self._serial = itertools.count()
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._processes: dict[int, SpawnedProcess] = {}
        self._outgoing: deque[tuple[bytes, Sequence[int]]] = deque()
        self._starting = asyncio.Lock()

    @property
    def isolation(self) -> Isolation:
        """What this sandbox enforces."""
        return self._isolation

    async def start(self) -> None:
        """Start the spawner; says once and loudly what this machine cannot enforce."""
        if self._isolation.missing:
            log.warning("sandbox_weak", driver=self._isolation.driver, missing=list(self._isolation.missing))
        await self._ensure_running()

    async def spawn(
        self,
        spec: SandboxSpec,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> SandboxProcess:
        """Start one process; see the port.

        Raises:
            Unavailable: the process could not be started.
            TooLarge: arguments and environment are over 190 KiB together.
        """
        await self._ensure_running()
        streams = (stdin, stdout, stderr)
        descriptors = [stream for stream in streams if stream is not None]
        request = {"op": "spawn", "spec": spec_to_wire(spec), "std": [one is not None for one in streams]}
        answer, _none = await self.request(request, [*descriptors, *pass_fds])
        process: SpawnedProcess = answer["process"]
        return process

    async def close(self) -> None:
        """Kill what still runs and end the spawner."""
        control, spawner = self._control, self._spawner
        if control is None or spawner is None:
            return
        self._disconnect()
        try:
            await asyncio.to_thread(spawner.wait, _FAREWELL_S)
        except subprocess.TimeoutExpired:
            spawner.kill()
            await asyncio.to_thread(spawner.wait)

    async def request(self, message: Message, descriptors: Sequence[int] = ()) -> Answer:
        """Send a request to the spawner and return its answer; for this package.

        Raises:
            Unavailable: it failed, or the spawner is gone.
        """
        number = next(self._serial)
        future = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        try:
            self.post(message | {"id": number}, descriptors)
            answer, received = await future
        finally:
            self._answers.pop(number, None)
        if "error" in answer:
            close_all(received)
            raise Unavailable(f"The sandbox could not do this: {answer['error']}.")
        return answer, received

    def post(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a request that has no answer.

        Raises:
            Unavailable: the spawner is gone.
            TooLarge: the message does not fit.
        """
        data = pack(message)
        if len(data) > MAX_MESSAGE:
            raise TooLarge(
                f"The process's arguments and environment take {len(data)} bytes.",
                hint=f"They may take {MAX_MESSAGE} together.",
            )
        if self._control is None:
            raise Unavailable("The sandbox's spawner is not running.")
        self._outgoing.append((data, descriptors))
        self._flush()

    async def _ensure_running(self) -> None:
        async with self._starting:
            if self._control is None:
                self._launch()

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            descriptor = theirs.fileno()
            module = "platform_core.base.sandbox.spawner"
            self._spawner = subprocess.Popen(
                [sys.executable, "-S", "-E", "-m", module, self._isolation.driver, str(descriptor)],
                pass_fds=[descriptor],
                start_new_session=True,  # a Ctrl-C at the terminal is for us, not for what we run
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
            )
        ours.setblocking(False)
        self._control = ours
        asyncio.get_running_loop().add_reader(ours, self._on_readable)

    def _disconnect(self) -> None:
        """Close the control socket; whoever waits learns that everything is gone."""
        control, self._control = self._control, None
        if control is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(control)
        loop.remove_writer(control)
        control.close()
        self._outgoing.clear()
        for future in self._answers.values():
            if not future.done():
                future.set_exception(Unavailable("The sandbox's spawner has ended."))
        for process in self._processes.values():
            process.ended(ExitStatus(128 + signal.SIGKILL))
        self._processes.clear()

    def _flush(self) -> None:
        control = self._control
        assert control is not None  # noqa: S101  # post and the writer callback check
        loop = asyncio.get_running_loop()
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                socket.send_fds(control, [data], descriptors)
            except BlockingIOError:
                loop.add_writer(control, self._flush)
                return
            except OSError:
                self._lost()
                return
            self._outgoing.popleft()
        loop.remove_writer(control)

    def _on_readable(self) -> None:
        while self._control is not None:
            try:
                received = receive(self._control)
            except BlockingIOError:
                return
            except OSError:
                received = None
            if received is None:
                self._lost()
                return
            self._take(*received)

    def _lost(self) -> None:
        log.error("sandbox_spawner_lost", hint="what it ran is gone; the next start brings it back")
        self._disconnect()
        if self._spawner is not None:
            self._spawner.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._spawner.wait(_FAREWELL_S)

    def _take(self, message: Message, descriptors: list[int]) -> None:
        if message.get("event") == "exit":
            process = self._processes.pop(message["pid"], None)
            if process is not None:
                process.ended(ExitStatus(message["code"], message["oom"]))
            return
        future = self._answers.get(message["id"])
        wanted = future is not None and not future.done()
        if "pid" in message:
            # Here and not in the waiting task: the process's end may be the very next message.
            process = SpawnedProcess(self, message["pid"], message["cgroup"], own_network=message["network"])
            self._processes[process.pid] = process
            message["process"] = process
            if not wanted:
                process.kill()
        if future is None or not wanted:
            close_all(descriptors)
        else:
            future.set_result((message, descriptors))
