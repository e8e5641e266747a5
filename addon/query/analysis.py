"""Analysis jobs: each input is a query, materialised to Parquet; then ``python -m jobs run`` in a sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.query.analysis_request import completed, named_pins
from addon.query.java import java_binds, java_home
from addon.query.pins import Pins
from addon.query.saved_runs import ANALYSIS
from addon.query.service import Query, QueryService
from addon.query.worker import QueryFailed, Reply, worker_uid
from platform_core.base.errors import NotFound
from platform_core.base.sandbox.interpreter import python_binds, python_path
from platform_core.base.sandbox.ownership import own
from platform_core.base.sandbox.spec import Bind, Sandbox, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from addon.models.accounts import Account
    from addon.models.tables import TableRef
    from addon.warehouse.versions import Versions

__all__ = ["ANALYSIS", "AnalysisExecution", "Computation", "Computed", "check_plain"]
_INSIDE = "/sluice-job"
"""A name that hides no checkout or interpreter of the host."""
_MEMORY = 4 << 30
_MAX_PIDS = 1_024
_MAX_TEXT = 64 << 10


@dataclass(frozen=True, slots=True)
class Computed:
    """A finished analysis; its tables and ``manifest.json`` are in the folder ``out`` of its place."""

    manifest: dict[str, Any]
    rows: int
    """Rows of the inputs."""
    read: Mapping[str, Sequence[TableRef]]
    """The tables that each input came from."""
    warnings: tuple[str, ...]
    """One for each node of a fleet that is away and may hold rows that are missing."""


class Computation:
    """Computes one analysis in a folder: its inputs by SQL, then the analysis in a sandbox."""

    def __init__(self, service: QueryService, sandbox: Sandbox) -> None:
        """Read by ``service``, compute in ``sandbox``."""
        self._service = service
        self._sandbox = sandbox

    async def run(
        self, account: Account, request: JobRequest, place: Path, pins: Pins, *, at: int, kill: asyncio.Event
    ) -> Computed:
        """Compute what ``request`` asks for in the new folder ``place``, on the versions of ``pins``.

        ``at`` is the Unix second that the inputs take for now.

        Raises:
            UserError: an input's query is refused.
            QueryFailed: an input or the analysis failed, or was killed.
        """
        params = request.params
        java = await asyncio.to_thread(java_home) if params["engine"] == "spark" else None
        _make_anew(place)
        rows, read = 0, {}
        warnings: dict[str, None] = {}
        for table, sql in params["inputs"].items():
            query = Query(
                sql, params["dialect"], request.database, "parquet", scheduled=request.scheduled_time, at=at
            )
            reply, read[table] = await self._materialise(account, table, query, pins, place / "in", kill)
            rows += reply.rows
            warnings |= dict.fromkeys(reply.warnings)
        own(place, worker_uid(account.id))
        await self._compute(account, params, place, java, kill)
        shutil.rmtree(place / "in")
        shutil.rmtree(place / "tmp", ignore_errors=True)
        check_plain(place / "out")
        written = json.loads((place / "out" / "manifest.json").read_text())
        manifest = completed(written, request, read, pins, at)
        if kill.is_set():
            raise QueryFailed("killed", "The analysis was killed.")
        return Computed(manifest, rows, read, tuple(warnings))

    async def _materialise(  # noqa: PLR0917  (one step of run)
        self, account: Account, table: str, query: Query, pins: Pins, folder: Path, kill: asyncio.Event
    ) -> tuple[Reply, Sequence[TableRef]]:
        """Write an input's rows to a file; return what the query gave, and the tables they came from."""
        with (folder / f"{table}.parquet").open("wb") as file:
            try:
                prepared = await self._service.prepare(account, query, pins)
                reply = await self._service.run_prepared(account, prepared, file.fileno(), kill)
            except QueryFailed as error:
                raise QueryFailed(error.kind, f"Input {table}: {error.message}", hint=error.hint) from error
        return reply, prepared.tables

    async def _compute(
        self, account: Account, params: Mapping[str, Any], place: Path, java: Path | None, kill: asyncio.Event
    ) -> None:
        root = _INSIDE if self._sandbox.isolation.own_files else str(place)
        with (place / "stderr").open("w+b") as errors:
            process = await self._sandbox.spawn(
                _spec(params, account, place, root, java),
                stdout=errors.fileno(),
                stderr=errors.fileno(),
            )
            ended = asyncio.create_task(process.wait())
            killed = asyncio.create_task(kill.wait())
            try:
                timeout = account.plan.query_timeout_s
                await asyncio.wait({ended, killed}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                killed.cancel()
                if not ended.done():
                    process.kill()
            if not ended.done():
                await ended
                raise QueryFailed("killed" if kill.is_set() else "timeout", "The analysis was stopped.")
            status = await ended
            if status.code != 0:
                errors.seek(0)
                text = errors.read(_MAX_TEXT).decode(errors="replace").strip()
                kind = "memory" if status.out_of_memory else "query"
                raise QueryFailed(kind, text or f"The analysis ended with code {status.code}.")


class AnalysisExecution:
    """Runs analysis jobs; the outputs stay in a folder of their own per execution."""

    def __init__(
        self, service: QueryService, sandbox: Sandbox, scratch: Path, versions: Versions | None = None
    ) -> None:
        """Work below ``scratch``, in one folder per account and execution; pin versions in ``versions``."""
        self._versions = versions
        self._service = service
        self._computation = Computation(service, sandbox)
        self._scratch = scratch

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> JobOutcome:
        """Run an analysis.

        Raises:
            UserError: an input's query is refused.
            QueryFailed: an input or the analysis failed, or was killed.
        """
        place = self._scratch / str(account.id) / f"{job.id}.{job.epoch}"
        params = job.request.params
        pins = Pins(named_pins(account.id, params))
        at = params.get("again", {}).get("at", self._service.now())
        done = await self._computation.run(account, job.request, place, pins, at=at, kill=kill)
        if params.get("pin"):
            await asyncio.to_thread(
                self._pin, job, {ref for refs in done.read.values() for ref in refs}, pins
            )
        return JobOutcome(
            JobState.SUCCESS,
            num_records=done.rows,
            result_size=sum(file.stat().st_size for file in (place / "out").iterdir()),
            result_path=str((place / "out").relative_to(self._scratch)),
            cmdout=json.dumps(done.manifest),
            stderr="".join(f"Warning: {text}\n" for text in done.warnings),
        )

    def _pin(self, job: Job, refs: Iterable[TableRef], pins: Pins) -> None:
        """Keep the versions that were read under the job's number, so that the manifest can be repeated."""
        for ref in refs:
            version = pins.of(ref).version
            if self._versions is not None and version is not None:
                with suppress(NotFound):  # an earlier execution of the job has pinned what it read
                    self._versions.unpin(ref, f"analysis-{job.id}")
                self._versions.pin(ref, f"analysis-{job.id}", version)


def _make_anew(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, mode=0o700)
    for folder in ("in", "out", "tmp"):
        (place / folder).mkdir()


def check_plain(folder: Path) -> None:
    """Make sure that a sandbox left nothing but files; a link would be followed with our rights.

    Raises:
        QueryFailed: it did not.
    """
    kinds = [entry.lstat().st_mode for entry in folder.iterdir()] if not folder.is_symlink() else [0]
    if not all(map(stat.S_ISREG, kinds)):
        raise QueryFailed("query", "The analysis left something other than files.")


def _spec(
    params: Mapping[str, Any], account: Account, place: Path, root: str, java: Path | None
) -> SandboxSpec:
    inputs = [f"--input={table}={root}/in/{table}.parquet" for table in params["inputs"]]
    temporary = f"{root}/tmp"  # noqa: S108  (below the job's own folder)
    environment = {
        "PYTHONPATH": python_path(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": temporary,
        "TMPDIR": temporary,
        "SPARK_LOCAL_DIRS": temporary,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }
    if java is not None:
        environment["JAVA_HOME"] = str(java)
    return SandboxSpec(
        argv=[
            *(sys.executable, "-s", "-m", "jobs", "run", params["name"], f"--engine={params['engine']}"),
            *inputs,
            f"--params={json.dumps(params['params'])}",
            f"--out={root}/out",
        ],
        env=environment,
        cwd=root,
        uid=worker_uid(account.id),
        binds=[
            *python_binds(["jobs"]),
            *(java_binds(java) if java is not None else ()),
            Bind(place, root, writable=True),
        ],
        hostname="analysis",
        memory_bytes=_MEMORY,
        max_pids=_MAX_PIDS,
    )
