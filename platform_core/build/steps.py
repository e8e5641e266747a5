"""Runs the programs of a build in the sandbox and passes their output on, line by line, as it comes."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.sandbox.spec import Bind, Network, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from platform_core.base.sandbox.spec import Sandbox
    from platform_core.build.output import BuildOutput

_MAX_LINE = 16 << 10
_MEMORY = 2 << 30
_PIDS = 512
_TMP = 1 << 30


@dataclass(frozen=True, slots=True)
class StepRunner:
    """The ``RunStep`` of one build."""

    sandbox: Sandbox
    out: BuildOutput
    env: Mapping[str, str]
    cwd: str
    uid: int
    binds: Sequence[Bind]

    async def __call__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        """Run one program to its end; return its exit code. Cancelling kills it."""
        spec = SandboxSpec(
            argv=argv,
            env={**self.env, **(env or {})},
            cwd=self.cwd,
            uid=self.uid,
            binds=self.binds,
            hostname="build",
            network=Network.HOST,
            memory_bytes=_MEMORY,
            max_pids=_PIDS,
            tmp_bytes=_TMP,
        )
        reader, writer = os.pipe()
        try:
            process = await self.sandbox.spawn(spec, stdout=writer, stderr=writer)
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        copying = asyncio.create_task(self._copy(reader))
        try:
            status = await process.wait()
            await copying
        finally:
            process.kill()
            copying.cancel()
        if status.out_of_memory:
            self.out.line("(the program was ended: it used too much memory)")
        return status.code

    async def _copy(self, descriptor: int) -> None:
        stream = asyncio.StreamReader(limit=_MAX_LINE)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", buffering=0)
        )
        try:
            while line := await _read_line(stream):
                self.out.line(line.decode("utf-8", "replace").rstrip())
        finally:
            transport.close()


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """Return the next line; a very long one comes in parts."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.readexactly(max(error.consumed, 1))
