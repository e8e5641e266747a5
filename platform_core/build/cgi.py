"""Runs a CGI program for one ASGI request, streaming its input and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from platform_core.base.errors import Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    Receive = Callable[[], Awaitable[Mapping[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = get_logger(__name__)
_CHUNK = 64 << 10
_MAX_HEAD = 64 << 10


class CgiProcess:
    """One CGI program."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Prepare to run ``argv`` with exactly ``env``."""
        self._argv = argv
        self._env = env

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve one request; the program and its children end with it, also when the client goes away.

        Raises:
            Unavailable: the program did not begin an answer.
        """
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._argv, env=self._env, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        assert process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        assert process.stderr is not None  # noqa: S101 - likewise
        feeding = asyncio.create_task(self._feed(process, receive))
        complaints = asyncio.create_task(process.stderr.read(_MAX_HEAD))
        try:
            await self._answer(process.stdout, send, complaints)
            await process.wait()
        finally:
            feeding.cancel()
            _kill(process)
            await asyncio.gather(feeding, complaints, process.wait(), return_exceptions=True)
            process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - no public way to close the pipes

    @staticmethod
    async def _feed(process: asyncio.subprocess.Process, receive: Receive) -> None:
        """Pass the request's body on; a client that leaves early ends the program."""
        stdin = process.stdin
        assert stdin is not None  # noqa: S101 - for the type checker
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                _kill(process)
                return
            with contextlib.suppress(ConnectionError):
                stdin.write(message.get("body", b""))
                await stdin.drain()
            more = bool(message.get("more_body"))
        with contextlib.suppress(ConnectionError):
            stdin.close()
        while (await receive())["type"] != "http.disconnect":
            pass
        _kill(process)

    async def _answer(
        self, stdout: asyncio.StreamReader, send: Send, complaints: asyncio.Task[bytes]
    ) -> None:
        head = await _read_head(stdout)
        if head is None:
            said = (await complaints).decode("utf-8", "replace").strip()
            _log.error("cgi_failed", program=self._argv[-1], said=said)
            raise Unavailable("git could not serve this request.", hint="Try again.")
        status, headers = head
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while chunk := await stdout.read(_CHUNK):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _read_head(stdout: asyncio.StreamReader) -> tuple[int, list[tuple[bytes, bytes]]] | None:
    """Read a CGI answer's header from the same buffered stream as its body, so that no byte gets lost."""
    status = 200
    headers: list[tuple[bytes, bytes]] = []
    while True:
        line = await stdout.readline()
        if not line:
            return None
        line = line.rstrip(b"\r\n")
        if not line:
            return status, headers
        name, _, value = line.partition(b":")
        if name.lower() == b"status":
            status = int(value.split()[0])
        else:
            headers.append((name.lower(), value.strip()))


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return  # reaped: the number may be somebody else's by now
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
