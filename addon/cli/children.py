"""A program started as a child: wait until it says ``ready``, notice its end, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from typing import TYPE_CHECKING

from addon.cli.failures import Exit, Failure
from addon.cli.home import open_private
from addon.cli.tether import tethered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READY = b"ready"
START_SECONDS = 90.0
STOP_SECONDS = 45.0
"""More than the 30 s that dynos get to end by themselves."""
_TAIL_LINES = 15
_LAST_WORDS_SECONDS = 1.0


class Child:
    """One of our programs, running. Its stderr, and what follows ``ready`` on stdout, go to its log."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        """Keep a started process; use `start`."""
        self.name, self.log, self._process = name, log, process
        self._log_start = 0
        self._stdout = asyncio.StreamReader()
        self._pipe: asyncio.ReadTransport | None = None
        self._pump: asyncio.Task[None] | None = None
        self.ended: asyncio.Task[int] = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> Child:
        """Start ``argv`` in a session of its own, so that a terminal's Ctrl-C reaches only us.

        It is killed when we die without stopping it: both programs recover from that, and an orphan would
        keep the ports and the home folder from the next start.
        The pipe is ours rather than asyncio's: that one reports the end of a process only when its
        grandchildren have closed the pipe too.
        """
        read_end, write_end = os.pipe()
        try:
            with open_private(log) as sink:
                log_start = sink.tell()
                process = await asyncio.create_subprocess_exec(
                    *tethered(argv),
                    env=dict(env),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=write_end,
                    stderr=sink,
                    start_new_session=True,
                )
        finally:
            os.close(write_end)
        child = cls(name, process, log)
        child._log_start = log_start
        await child._read_from(read_end)
        return child

    async def _read_from(self, read_end: int) -> None:
        protocol = asyncio.StreamReaderProtocol(self._stdout)
        loop = asyncio.get_running_loop()
        self._pipe, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(read_end, "rb"))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when the program accepts requests.

        Raises:
            Failure: it ended, or did not say ``ready`` in time.
        """
        reading = asyncio.create_task(self._read_until_ready())
        await asyncio.wait({reading, self.ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if reading.done() and reading.result():
            self._pump = asyncio.create_task(self._copy_stdout())
            return
        reading.cancel()
        await asyncio.wait({self.ended}, timeout=_LAST_WORDS_SECONDS)
        if self.ended.done():
            raise self.death()
        why = f"it did not say that it is ready within {seconds:.0f} s\n{self.tail()}"
        raise Failure(f"The {self.name} did not start", why, f"Read {self.log}", Exit.TIMEOUT)

    async def _read_until_ready(self) -> bool:
        async for line in self._stdout:
            if line.strip() == READY:
                return True
        return False

    async def _copy_stdout(self) -> None:
        with open_private(self.log) as sink:
            async for line in self._stdout:
                sink.write(line)

    def death(self) -> Failure:
        """Describe how the program ended."""
        code = self._process.returncode
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {signal.Signals(-code).name}"
        return Failure(
            f"The {self.name} ended with {how}", self.tail(), f"Read {self.log}, then start again."
        )

    def tail(self) -> str:
        """Return the last lines that this run of the program left in its log."""
        with contextlib.suppress(OSError), self.log.open(errors="replace") as lines:
            lines.seek(self._log_start)
            return "".join(deque(lines, _TAIL_LINES)).rstrip() or "it said nothing"
        return f"{self.log} cannot be read"

    async def stop(self, seconds: float = STOP_SECONDS) -> str | None:
        """End the program: SIGTERM, and SIGKILL after ``seconds``; return a remark if it took that."""
        remark = None
        started = time.monotonic()
        if self._process.returncode is None:
            self._process.terminate()
        done, _ = await asyncio.wait({self.ended}, timeout=seconds)
        if not done:
            self._process.kill()
            remark = (
                f"the {self.name} did not end within {time.monotonic() - started:.0f} s of SIGTERM: killed"
            )
        await self.ended
        await self._finish_pump()
        return remark

    async def _finish_pump(self) -> None:
        """Let the last lines through; a grandchild that kept our pipe open must not hold us up."""
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=_LAST_WORDS_SECONDS)
            self._pump.cancel()
        if self._pipe is not None:
            self._pipe.close()
