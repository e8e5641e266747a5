"""Analysis jobs: each input is a query, materialised to Parquet; then ``python -m jobs run`` in a sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.query.analysis_progress import Report, relay, unheard
from addon.query.analysis_request import completed, named_pins
from addon.query.java import java_binds, java_home
from addon.query.pins import Pins
from addon.query.results import result_file, writing_result
from addon.query.saved_runs import ANALYSIS
from addon.query.service import Prepared, Query, QueryService, shown_columns
from addon.query.spark_place import SparkPlace, spark_place, write_pinned
from addon.query.worker import QueryFailed, Reply, worker_uid
from jobs.contracts.pinned import SUFFIX
from jobs.registry import find
from platform_core.base.logs import get_logger
from platform_core.base.sandbox.interpreter import python_binds, python_path
from platform_core.base.sandbox.ownership import own
from platform_core.base.sandbox.spec import Bind, Network, Sandbox, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from addon.models.accounts import Account
    from addon.models.tables import TableRef
    from addon.query.books import Books
    from addon.query.run_pins import RunPins
    from addon.store.jobs import JobStore

__all__ = ["ANALYSIS", "AnalysisExecution", "Computation", "Computed", "check_plain"]
_INSIDE = "/sluice-job"
"""A name that hides no checkout or interpreter of the host."""
_MEMORY = 4 << 30
_SMALL_BYTES = 32 << 20
_QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For few rows: compiling Spark thoroughly takes longer than they do, a third of the whole run."""
_MAX_PIDS = 1_024
_MAX_TEXT = 64 << 10
_PROGRESS = "progress.json"
_STAGED, _WRITTEN = 20, 95
"""The percentages at which the inputs are there, and at which the outputs are."""
_USER_MISTAKE = 2
"""The exit code of ``python -m jobs`` for what the caller can mend."""
_TYPES = "presto"
"""The dialect in whose words the columns of an analysis' result are described."""
_log = get_logger(__name__)


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

    def __init__(self, service: QueryService, sandbox: Sandbox, books: Books | None = None) -> None:
        """Read by ``service``, compute in ``sandbox``; ``books`` has the inputs that nobody gives as SQL."""
        self._books = books
        self._service = service
        self._sandbox = sandbox

    async def run(
        self,
        account: Account,
        request: JobRequest,
        place: Path,
        pins: Pins,
        *,
        at: int,
        kill: asyncio.Event,
        report: Report = unheard,
    ) -> Computed:
        """Compute what ``request`` asks for in the new folder ``place``, on the versions of ``pins``.

        ``at`` is the Unix second that the inputs take for now. ``report`` is told how far it has come.

        Raises:
            UserError: an input's query is refused.
            QueryFailed: an input or the analysis failed, or was killed.
        """
        params = request.params
        java = await asyncio.to_thread(java_home) if params["engine"] == "spark" else None
        cluster = spark_place() if params["engine"] == "spark" else None
        shown: list[Bind] = [] if cluster is None else [*cluster.binds]
        _make_anew(place)
        rows, read, runs = 0, {}, {}
        warnings: dict[str, None] = {}
        for done, (table, sql) in enumerate(params["inputs"].items()):
            await report("staging", _STAGED * done // len(params["inputs"]))
            query = Query(
                sql, params["dialect"], request.database, "parquet", scheduled=request.scheduled_time, at=at
            )
            prepared = await self._prepare(account, table, query, pins)
            read[table], runs[table] = prepared.tables, list(prepared.compiled.runs.values())
            warnings |= dict.fromkeys(prepared.warnings)
            files = await self._name_files(account, table, prepared, cluster, place / "in")
            if files is None:
                reply = await self._materialise(account, table, prepared, place / "in", kill)
                rows += reply.rows
            else:
                shown += files
        if not params["inputs"] and self._books is not None:
            await self._books.write(account.id, place / "in")
        own(place, worker_uid(account.id))
        direct = [table for table in params["inputs"] if (place / "in" / f"{table}{SUFFIX}").exists()]
        await self._compute(account, params, place, java, cluster, shown, kill, report)
        shutil.rmtree(place / "in")
        shutil.rmtree(place / "tmp", ignore_errors=True)
        check_plain(place / "out")
        written = json.loads((place / "out" / "manifest.json").read_text())
        self._service.meter(account.id, {}, written.get("cpu_seconds", 0.0))
        rows += sum(written["rows_in"][table] for table in direct)
        manifest = completed(written, request, read, pins, at, runs)
        if kill.is_set():
            raise QueryFailed("killed", "The analysis was killed.")
        return Computed(manifest, rows, read, tuple(warnings))

    async def _prepare(self, account: Account, table: str, query: Query, pins: Pins) -> Prepared:
        try:
            return await self._service.prepare(account, query, pins)
        except QueryFailed as error:
            raise QueryFailed(error.kind, f"Input {table}: {error.message}", hint=error.hint) from error

    async def _name_files(
        self, account: Account, table: str, prepared: Prepared, cluster: SparkPlace | None, folder: Path
    ) -> list[Bind] | None:
        """Let a cluster read an input's files itself, where it can; return what the driver must be shown."""
        if cluster is None:
            return None
        file, seconds = folder / f"{table}{SUFFIX}", account.plan.query_timeout_s
        named = await asyncio.to_thread(
            write_pinned, prepared, self._service.warehouse, cluster, file, seconds
        )
        if named is None:
            return None
        binds, size = named
        self._service.meter(account.id, dict.fromkeys(prepared.tables, size), 0.0)
        return binds

    async def _materialise(
        self, account: Account, table: str, prepared: Prepared, folder: Path, kill: asyncio.Event
    ) -> Reply:
        """Write an input's rows to a file; return what the query gave."""
        with (folder / f"{table}.parquet").open("wb") as file:
            try:
                return await self._service.run_prepared(account, prepared, file.fileno(), kill)
            except QueryFailed as error:
                raise QueryFailed(error.kind, f"Input {table}: {error.message}", hint=error.hint) from error

    async def _compute(  # noqa: PLR0917  (one step of run)
        self,
        account: Account,
        params: Mapping[str, Any],
        place: Path,
        java: Path | None,
        cluster: SparkPlace | None,
        shown: Sequence[Bind],
        kill: asyncio.Event,
        report: Report,
    ) -> None:
        root = _INSIDE if self._sandbox.isolation.own_files else str(place)
        with (place / "stderr").open("w+b") as errors:
            process = await self._sandbox.spawn(
                _spec(params, account, place, root, java, cluster, shown),
                stdout=errors.fileno(),
                stderr=errors.fileno(),
            )
            ended = asyncio.create_task(process.wait())
            killed = asyncio.create_task(kill.wait())
            watched = asyncio.create_task(relay(place / _PROGRESS, report, _STAGED, _WRITTEN))
            try:
                timeout = account.plan.query_timeout_s
                await asyncio.wait({ended, killed}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                watched.cancel()
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
                kind = "refused" if status.code == _USER_MISTAKE else "query"
                kind = "memory" if status.out_of_memory else kind
                raise QueryFailed(kind, text or f"The analysis ended with code {status.code}.")


class AnalysisExecution:
    """Runs analysis jobs; the outputs stay in a folder of their own per execution."""

    def __init__(  # noqa: PLR0917  (the places and ports of one execution)
        self,
        service: QueryService,
        sandbox: Sandbox,
        scratch: Path,
        results: Path,
        pins: RunPins | None = None,
        jobs: JobStore | None = None,
        books: Books | None = None,
    ) -> None:
        """Work below ``scratch``, in one folder per account and execution; ``pins`` keeps versions.

        The rows of the main output go below ``results``, as those of a query do. ``jobs`` is told how far
        each execution has come. ``books`` has what the analysis ``usage`` reads.
        """
        self._results = results
        self._jobs = jobs
        self._pins = pins
        self._service = service
        self._computation = Computation(service, sandbox, books)
        self._scratch = scratch

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> JobOutcome:
        """Run an analysis.

        Raises:
            UserError: an input's query is refused.
            QueryFailed: an input or the analysis failed, or was killed.
        """
        place = self._scratch / str(account.id) / f"{job.id}.{job.epoch}"
        request = await self._service.begin(job.request)
        params = request.params
        pins = Pins(named_pins(account.id, params))
        at = params.get("again", {}).get("at", self._service.now())
        report = self._reporter(job)
        done = await self._computation.run(account, request, place, pins, at=at, kill=kill, report=report)
        await report("writing", _WRITTEN)
        main = place / "out" / f"{main_output(params['name'], place / 'out')}.parquet"
        path = result_file(self._results, account.id, job.id, job.epoch)
        with writing_result(path) as file:
            reply = await self._service.rows_of(account, main, file.fileno(), kill)
            await asyncio.to_thread(os.fsync, file.fileno())
        if params.get("pin") and self._pins is not None:
            read = {ref for refs in done.read.values() for ref in refs}
            await asyncio.to_thread(self._pins.pin, job, read, pins)
        return JobOutcome(
            JobState.SUCCESS,
            num_records=reply.rows,
            result_size=path.stat().st_size,
            result_schema=shown_columns(reply, _TYPES),
            result_path=str(path.relative_to(self._results)),
            cmdout=json.dumps(done.manifest),
            stderr="".join(f"Warning: {text}\n" for text in done.warnings),
        )

    def _reporter(self, job: Job) -> Report:
        jobs = self._jobs
        if jobs is None:
            return unheard

        async def report(stage: str, percent: int) -> None:
            try:
                await asyncio.to_thread(jobs.report, job, {"stage": stage, "percent": percent})
            except Exception:  # noqa: BLE001  (the analysis goes on whether or not somebody hears of it)
                _log.exception("progress_not_reported", job_id=job.id)

        return report


def main_output(name: str, folder: Path) -> str:
    """Return which output of a run is the job's result: the first of the analysis' that the run made."""
    return next(table.name for table in find(name).outputs if (folder / f"{table.name}.parquet").exists())


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


def _spec(  # noqa: PLR0917  (what a sandbox is made from)
    params: Mapping[str, Any],
    account: Account,
    place: Path,
    root: str,
    java: Path | None,
    cluster: SparkPlace | None,
    shown: Sequence[Bind],
) -> SandboxSpec:
    files = sorted(file.name for file in (place / "in").iterdir())
    inputs = [f"--input={file.partition('.')[0]}={root}/in/{file}" for file in files]
    temporary = f"{root}/tmp"  # noqa: S108  (below the job's own folder)
    environment = {
        "PYTHONPATH": python_path(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": temporary,
        "TMPDIR": temporary,
        "SPARK_LOCAL_DIRS": temporary,
        **({"SPARK_LOCAL_IP": "127.0.0.1"} if cluster is None else cluster.environment),
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }
    if java is not None:
        environment["JAVA_HOME"] = str(java)
        size = sum((place / "in" / file).stat().st_size for file in files)
        if cluster is None and size <= _SMALL_BYTES:
            environment["SPARK_SUBMIT_OPTS"] = _QUICK_JAVA
    return SandboxSpec(
        argv=[
            *(sys.executable, "-s", "-m", "jobs", "run", params["name"], f"--engine={params['engine']}"),
            *inputs,
            f"--params={json.dumps(params['params'])}",
            f"--out={root}/out",
            f"--progress={root}/{_PROGRESS}",
        ],
        env=environment,
        cwd=root,
        uid=worker_uid(account.id),
        binds=[
            *python_binds(["jobs"]),
            *(java_binds(java) if java is not None else ()),
            *shown,
            Bind(place, root, writable=True),
        ],
        hostname="analysis" if cluster is None else cluster.hostname,
        network=Network.NONE if cluster is None else cluster.network,
        memory_bytes=_MEMORY,
        max_pids=_MAX_PIDS,
    )
