"""One SQL worker as the add-on sees it: a process at the other end of a socket."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from addon.query import frames
from platform_core.base.errors import SluiceError, Unavailable, UserError
from platform_core.base.sandbox.interpreter import python_binds, python_path
from platform_core.base.sandbox.spec import Bind, Sandbox, SandboxProcess, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from addon.models.accounts import Plan

INTERRUPT_GRACE_S = 0.3
"""How long a query may take to notice an interrupt before its worker is killed."""
_START_TIMEOUT_S = 30.0
_INSIDE = "/sluice-warehouse"  # names that hide no checkout or interpreter of the host
_SPILL_INSIDE = "/sluice-spill"
_RUNS_INSIDE = "/sluice-runs"
_REPORTS_INSIDE = "/sluice-runs-of-reports"
_SPILL_BYTES = 2 << 30
_MARGIN_BYTES = 512 << 20
_MAX_PIDS = 64
_BASE_UID = 2_000_000
"""Workers of account n run as this uid plus n; far above real users and the dynos' uids."""


class QueryFailed(SluiceError):
    """The query ended with an error of its own.

    ``kind`` is query, memory, result, timeout or killed; of an analysis also refused: the caller can mend it.
    """

    def __init__(self, kind: str, message: str, *, hint: str | None = None) -> None:
        """Take what kind of end it was and the text for the customer."""
        super().__init__(message, hint=hint)
        self.kind = kind


class QueueFull(UserError):
    """Too much of the account waits already."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a worker is asked to run; ``views`` are SELECT texts by view name."""

    sql: str
    views: Mapping[str, str]
    form: str
    """``td`` (msgpack.gz), ``arrow`` or ``parquet``."""
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a query gave; ``columns`` are (name, DuckDB type)."""

    rows: int
    bytes: int
    columns: tuple[tuple[str, str], ...]
    seconds: float
    warnings: tuple[str, ...] = ()
    """What the flush barrier said about nodes that are away."""
    cpu: float = 0.0
    """Seconds of processor time, of all threads."""


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Where an account's worker reads and spills."""

    account_id: int
    folder: Path
    spill: Path
    plan: Plan
    threads: int
    runs: Path | None = None
    """Where the account's finished analyses are, read-only."""
    reports: Path | None = None
    """Where the runs of the account's reports are, read-only."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A folder of the host, and the path by which the worker sees it."""

    outside: Path
    inside: str

    def path(self, file: Path) -> str | None:
        """Return the path of a file in the folder, None of one elsewhere."""
        if not file.is_relative_to(self.outside):
            return None
        return f"{self.inside}/{file.relative_to(self.outside)}"


class Worker:
    """A warm worker process of one account. Runs one request at a time."""

    def __init__(self, process: SandboxProcess, channel: socket.socket, seen: Sequence[_Seen]) -> None:
        """Take a started process; see :meth:`start`."""
        self._process = process
        self._channel = channel
        self._seen = seen
        self._serial = 0
        self._killed = False
        self.broken = False
        """The worker died or was killed; it must not be used again."""

    @classmethod
    async def start(cls, sandbox: Sandbox, place: WorkerPlace) -> Worker:
        """Start a worker and wait until it is ready; about 0.2 s.

        Raises:
            Unavailable: it did not come up.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        own_files = sandbox.isolation.own_files
        spill = _SPILL_INSIDE if own_files else str(place.spill)
        seen = [_Seen(place.folder, _INSIDE if own_files else str(place.folder))]
        if place.runs is not None:
            seen.append(_Seen(place.runs, _RUNS_INSIDE if own_files else str(place.runs)))
        if place.reports is not None:
            seen.append(_Seen(place.reports, _REPORTS_INSIDE if own_files else str(place.reports)))
        try:
            process = await sandbox.spawn(_spec(place, seen, spill), stderr=2, pass_fds=[theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = cls(process, ours, seen)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await worker._receive()
        except TimeoutError as error:
            worker.close()
            raise Unavailable("A SQL worker did not start in time.", hint="Retry after 5 seconds.") from error
        except BaseException:
            worker.close()
            raise
        return worker

    def path_inside(self, file: Path) -> str:
        """Return the path by which the worker sees a file of its account."""
        found = next((path for one in self._seen if (path := one.path(file)) is not None), None)
        if found is None:
            raise ValueError(f"the worker does not see {file}")
        return found

    async def run(self, request: Request, result_fd: int, *, timeout_s: float, kill: asyncio.Event) -> Reply:
        """Run one request; its result goes to ``result_fd``.

        Raises:
            QueryFailed: the query failed, was killed or took too long; the worker may be broken now.
        """
        self._serial += 1
        message = {
            "id": self._serial,
            "sql": request.sql,
            "views": dict(request.views),
            "form": request.form,
            "max_bytes": request.max_bytes,
        }
        answer = asyncio.create_task(self._exchange(message, result_fd))
        killed = asyncio.create_task(kill.wait())
        try:
            await asyncio.wait({answer, killed}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                await self._stop(answer)
                raise _stopped(by_user=killed.done(), timeout_s=timeout_s)
            return _reply(await answer)
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            killed.cancel()
            if not answer.done():
                answer.cancel()

    async def _exchange(self, message: dict[str, Any], result_fd: int) -> dict[str, Any]:
        try:
            await self._send(message, result_fd)
            return await self._receive()
        except (OSError, EOFError) as error:
            self.broken = True
            raise await self._death() from error

    async def _stop(self, answer: asyncio.Task[dict[str, Any]]) -> None:
        """Interrupt the running query; kill the worker when that does not help."""
        with suppress(OSError):  # it may have died in this moment
            await self._send({"interrupt": self._serial})
        await asyncio.wait({answer}, timeout=INTERRUPT_GRACE_S)
        if not answer.done():
            self.close()
        elif answer.exception() is not None:
            self.broken = True

    async def _send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        header, body = frames.encode(message)
        if descriptor is not None:  # the socket is empty between requests, so 4 bytes always fit
            socket.send_fds(self._channel, [header], [descriptor])
            header = b""
        await asyncio.get_running_loop().sock_sendall(self._channel, header + body)

    async def _receive(self) -> dict[str, Any]:
        length = frames.body_length(await self._exactly(frames.LENGTH.size))
        message: dict[str, Any] = json.loads(await self._exactly(length))
        return message

    async def _exactly(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        parts = bytearray()
        while len(parts) < count:
            part = await loop.sock_recv(self._channel, count - len(parts))
            if not part:
                raise EOFError("the worker is gone")
            parts += part
        return bytes(parts)

    async def _death(self) -> QueryFailed:
        """Say why the worker died: for memory, by us, or by itself."""
        status = await self._process.wait()
        if self._killed:
            return QueryFailed("killed", "The query was killed.")
        if status.out_of_memory:
            return QueryFailed(
                "memory", "The query needed more memory than the plan gives.", hint=_LESS_MEMORY
            )
        return QueryFailed(
            "query", "The query ended its worker.", hint="Make it simpler; deep nesting can do that."
        )

    def close(self) -> None:
        """End the worker at once."""
        self.broken = self._killed = True
        self._process.kill()

    async def wait_ended(self) -> None:
        """Wait for the process's end; a request that was running hears of it first."""
        await self._process.wait()

    async def wait_closed(self) -> None:
        """Wait for the process's end and close the socket, which nobody may be reading."""
        await self._process.wait()
        self._channel.close()


_LESS_MEMORY = "Read fewer columns or a shorter time range, or take a larger plan."


def _spec(place: WorkerPlace, seen: Sequence[_Seen], spill: str) -> SandboxSpec:
    memory = place.plan.query_memory_bytes
    settings = {
        "memory_bytes": memory,
        "threads": place.threads,
        "folders": [one.inside for one in seen],
        "spill": spill,
        "spill_bytes": _SPILL_BYTES,
    }
    return SandboxSpec(
        argv=[sys.executable, "-s", "-m", "addon.query.worker_main", json.dumps(settings)],
        env={"PYTHONPATH": python_path(), "PYTHONDONTWRITEBYTECODE": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
        cwd="/",
        uid=_BASE_UID + place.account_id,
        binds=[
            *python_binds(["addon"]),
            *(Bind(one.outside, one.inside) for one in seen),
            Bind(place.spill, spill, writable=True),
        ],
        hostname="sql",
        memory_bytes=memory + memory // 4 + _MARGIN_BYTES,
        max_pids=_MAX_PIDS,
    )


def worker_uid(account_id: int) -> int:
    """Return the uid that an account's workers run as."""
    return _BASE_UID + account_id


def _stopped(*, by_user: bool, timeout_s: float) -> QueryFailed:
    if by_user:
        return QueryFailed("killed", "The query was killed.")
    return QueryFailed(
        "timeout",
        f"The query took longer than the plan's {timeout_s:.0f} s.",
        hint="Read a shorter time range.",
    )


def _reply(answer: dict[str, Any]) -> Reply:
    if answer["ok"]:
        columns = tuple((str(name), str(kind)) for name, kind in answer["columns"])
        return Reply(answer["rows"], answer["bytes"], columns, answer["seconds"], cpu=answer["cpu"])
    hint = _LESS_MEMORY if answer["kind"] == "memory" else None
    raise QueryFailed(answer["kind"], answer["message"], hint=hint)
