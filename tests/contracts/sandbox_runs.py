"""What the suites over the sandbox share: which driver promises what here, and how to run something."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_core.base.sandbox.client import SpawnerSandbox
from platform_core.base.sandbox.interpreter import python_binds
from platform_core.base.sandbox.isolation import BWRAP, PROCESS, detect_isolation
from platform_core.base.sandbox.spec import ExitStatus, Isolation, SandboxProcess, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROOT = os.geteuid() == 0
APP_UID = 23_456
ECHO_SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    peer, _ = listener.accept()
    peer.sendall(peer.recv(100).upper())
    peer.close()
"""


@functools.cache
def _isolations() -> tuple[Isolation, ...]:
    best = detect_isolation()
    return (best, detect_isolation(PROCESS)) if best.driver == BWRAP else (best,)


def drivers(promise: Callable[[Isolation], bool] = lambda _: True) -> list[str]:
    """Return the drivers that work on this machine and promise this; there may be none."""
    return [isolation.driver for isolation in _isolations() if promise(isolation)]


@contextlib.asynccontextmanager
async def opened(driver: str) -> AsyncIterator[SpawnerSandbox]:
    """A started sandbox with that driver."""
    sandbox = SpawnerSandbox(driver)
    await sandbox.start()
    try:
        yield sandbox
    finally:
        await sandbox.close()


@dataclass
class Run:
    """A started process and what it writes."""

    process: SandboxProcess
    read_end: int
    output: bytes = field(default=b"")

    async def finish(self) -> tuple[ExitStatus, str]:
        async with asyncio.timeout(20):
            status = await self.process.wait()
        self.output += await asyncio.to_thread(read_all, self.read_end)
        return status, self.output.decode()

    async def until(self, wanted: bytes) -> None:
        while wanted not in self.output:
            async with asyncio.timeout(20):
                chunk = await asyncio.to_thread(os.read, self.read_end, 65536)
            assert chunk, f"it ended before it said {wanted!r}: {self.output!r}"
            self.output += chunk


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def uid_for(sandbox: SpawnerSandbox) -> int:
    # Without a view of its own a dropped uid may not reach this Python; the drop has its own test.
    return APP_UID if sandbox.isolation.own_files else os.getuid()


async def start(sandbox: SpawnerSandbox, *argv: str, **options: Any) -> Run:
    pass_fds = options.pop("pass_fds", ())
    stdin = options.pop("stdin", None)
    spec = SandboxSpec(**({"argv": argv, "env": {}, "cwd": "/", "uid": uid_for(sandbox)} | options))
    read_end, write_end = os.pipe()
    try:
        process = await sandbox.spawn(
            spec, stdin=stdin, stdout=write_end, stderr=write_end, pass_fds=pass_fds
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return Run(process, read_end)


async def run(sandbox: SpawnerSandbox, *argv: str, **options: Any) -> tuple[ExitStatus, str]:
    return await (await start(sandbox, *argv, **options)).finish()


async def shell(sandbox: SpawnerSandbox, script: str, **options: Any) -> tuple[ExitStatus, str]:
    return await run(sandbox, "/bin/sh", "-c", script, **options)


async def python(sandbox: SpawnerSandbox, script: str, *argv: str, **options: Any) -> Run:
    options["binds"] = [*python_binds(), *options.get("binds", ())]
    return await start(sandbox, sys.executable, "-c", script, *argv, **options)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # other processes' ends: there is no event to await
            await asyncio.sleep(0.005)


def running_with(word: bytes) -> bool:
    found = False
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found = found or word in entry.read_bytes().split(b"\0")
        except OSError:
            continue
    return found
