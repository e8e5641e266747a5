"""One run of a dyno: a sandboxed process with its files, its output, its relays and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.errors import Unavailable
from platform_core.base.ids import new_uuid
from platform_core.base.sandbox.spec import Bind, SandboxSpec
from platform_core.dynos import messages
from platform_core.dynos.environment import dyno_env, start_command
from platform_core.dynos.output import OutputPump
from platform_core.dynos.relays import Relays
from platform_core.models.apps import DYNO_SIZES, DynoSize, dyno_size
from platform_core.models.logs import PRI_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from platform_core.base.clock import Clock
    from platform_core.base.sandbox.spec import ExitStatus, Sandbox, SandboxProcess
    from platform_core.dynos.settings import DynoSettings
    from platform_core.dynos.slugs import SlugCache
    from platform_core.models.logs import LogWriter
    from platform_core.models.runtime import RunSpec

WEB = "web"
_APP = "/app"
_OUTPUT_GRACE_S = 1.0
"""How long after the end output is still awaited; only a descriptor that leaked out could hold it open."""
_PORTS = range(10_000, 60_000)


@dataclass(frozen=True, slots=True)
class Host:
    """What every run needs of the platform."""

    sandbox: Sandbox
    log: LogWriter
    slugs: SlugCache
    settings: DynoSettings
    clock: Clock


@dataclass(frozen=True, slots=True)
class DynoSpec:
    """What one dyno runs."""

    release: RunSpec
    name: str
    type: str
    command: str
    size: DynoSize

    @classmethod
    def of(cls, release: RunSpec, name: str, command: str, size: str) -> DynoSpec:
        """Describe dyno ``name`` of a release; an unknown size counts as Basic."""
        found = dyno_size(size) or DYNO_SIZES["Basic"]
        return cls(release, name, name.partition(".")[0], command, found)


class DynoRun:
    """Starts the process on `start`; then ``process`` is there."""

    def __init__(self, host: Host, spec: DynoSpec) -> None:
        """Prepare a run of ``spec``; nothing happens yet."""
        self._host = host
        self.spec = spec
        self.port = _pick_port(host) if spec.type == WEB else None
        self._relays = Relays()
        self._output: OutputPump | None = None
        self._files: Path | None = None
        self._stopping = False
        self._ended = False
        self.process: SandboxProcess | None = None

    def say(self, *lines: str) -> None:
        """Write platform lines into the app's log."""
        self._host.log.write(
            self.spec.release.app_id,
            "heroku",
            self.spec.name,
            [line.encode() for line in lines],
            pri=PRI_PLATFORM,
        )

    async def start(self) -> None:
        """Unpack, spawn, open the relays, let go.

        Raises:
            Unavailable: the process could not be started; nothing is left behind.
        """
        release = self.spec.release
        self.say(messages.starting(self.spec.command))
        try:
            self._files = await self._host.slugs.checkout(
                release.slug_sha256, release.slug_path, new_uuid(), release.uid
            )
            await self._spawn(self._files)
        except BaseException:
            await self._clean_up()
            raise

    async def wait(self) -> ExitStatus:
        """Wait for the end, take in the last output, clean up."""
        assert self.process is not None  # noqa: S101  # start has returned
        try:
            status = await self.process.wait()
            self._ended = True
            if self._output is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_OUTPUT_GRACE_S):
                        await self._output.ended.wait()
        finally:
            await asyncio.shield(self._clean_up())
        if status.out_of_memory:
            self.say(messages.R15, messages.KILLING)
        self.say(messages.exited(status.code))
        return status

    async def stop(self, grace: float) -> None:
        """SIGTERM to all processes, then SIGKILL after ``grace`` seconds; `wait` sees the end."""
        if self.process is None or self._ended:
            return
        if self._stopping:
            await self.process.wait()
            return
        self._stopping = True
        self.say(messages.STOPPING)
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self.process.wait()
        except TimeoutError:
            self.say(messages.exit_timeout(grace), messages.KILLING)
            self.process.kill()

    async def listening(self) -> bool:
        """Tell whether the program listens on its port."""
        assert self.process is not None  # noqa: S101  # start has returned
        assert self.port is not None  # noqa: S101  # web dynos only
        try:
            (await self.process.connect(self.port)).close()
        except OSError:
            return False
        return True

    async def _spawn(self, files: Path) -> None:
        own_files = self._host.sandbox.isolation.own_files
        home = _APP if own_files else str(files)
        gate, gate_end = os.pipe()
        read_end, write_end = os.pipe()
        try:
            self.process = await self._host.sandbox.spawn(
                self._sandbox_spec(files, home), stdout=write_end, stderr=write_end, pass_fds=[gate]
            )
            self._output = OutputPump(
                read_end,
                self._write,
                lambda line: self.say(line.decode()),
                bytes_per_second=self._host.settings.output_bytes_per_second,
                now=self._host.clock.now,
            )
            if self._host.sandbox.isolation.own_network:
                with contextlib.suppress(Unavailable):  # it has ended already; `wait` tells
                    await self._relays.open(self.process, self._host.settings.services)
            with contextlib.suppress(BrokenPipeError):
                os.write(gate_end, b"\n")
        finally:
            for descriptor in (gate, gate_end, write_end):
                os.close(descriptor)
            if self._output is None:
                os.close(read_end)

    def _sandbox_spec(self, files: Path, home: str) -> SandboxSpec:
        size, settings = self.spec.size, self._host.settings
        return SandboxSpec(
            argv=start_command(self.spec.command),
            env=dyno_env(self.spec.release, self.spec.name, home, self.port),
            cwd=_APP,
            uid=self.spec.release.uid,
            binds=[*settings.binds, Bind(files, _APP, writable=True)],
            hostname=self.spec.name.replace(".", "-"),
            memory_bytes=size.memory * settings.memory_hard_factor,
            max_pids=size.max_pids,
            cpu_cores=size.cpu_cores,
        )

    def _write(self, lines: Sequence[bytes]) -> None:
        self._host.log.write(self.spec.release.app_id, "app", self.spec.name, lines)

    async def _clean_up(self) -> None:
        self._relays.close()
        if self._output is not None:
            self._output.close()
        if self._files is not None:
            files, self._files = self._files, None
            await self._host.slugs.discard(files)


def _pick_port(host: Host) -> int:
    """With a network of its own any port will do; on the host's network it must be free there."""
    if host.sandbox.isolation.own_network:
        return random.choice(_PORTS)  # noqa: S311  # not a secret
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
