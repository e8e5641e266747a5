"""The outputs of finished analyses as tables: ``runs.run_42.paths`` is the output ``paths`` of the run 42.

``runs`` is a catalog of its own, so that no database of an account can be meant. A run is what it was when it
ended: nothing writes to it, so a query of it is repeatable for as long as the run is kept (90 days, with its
job). An account sees its own runs only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sqlglot import exp

from addon.models.jobs import Job, JobState
from addon.models.schedules import REPORT
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from addon.query.report_outputs import ReportOutputs
    from addon.store.jobs import JobStore

ANALYSIS = "analysis"
CATALOG = "runs"
_SCHEMA = re.compile(r"^(?:run_)?(\d{1,18})$")
_OUTPUT = re.compile(r"^[a-z][a-z0-9_]{0,139}$")
_FORM = f"Write {CATALOG}.run_NUMBER.OUTPUT, for example {CATALOG}.run_42.paths."


class RunRef(NamedTuple):
    """An output of a run of the account that asks."""

    run: int
    output: str

    @property
    def view(self) -> str:
        """The name of the view that stands for it."""
        return f"{CATALOG}.{self.run}.{self.output}"


def take_run(table: exp.Table) -> RunRef | None:
    """Return the output that a table's name means; None where it is another kind of name.

    Raises:
        InvalidInput: it is in the catalog of runs, but no output can have the name.
    """
    if table.catalog.lower() != CATALOG:
        return None
    run, output = _SCHEMA.match(table.db.lower()), table.name.lower()
    if run is None or not _OUTPUT.match(output):
        raise InvalidInput(f"The run {table.db[:80]!r} or its output is not named as one is.", hint=_FORM)
    if table.args.get("version") is not None:
        raise InvalidInput("A run has no versions: it is what it was when it ended.", hint=_FORM)
    return RunRef(int(run[1]), output)


class SavedRuns:
    """Finds the files of finished runs."""

    def __init__(self, jobs: JobStore, scratch: Path, reports: ReportOutputs | None = None) -> None:
        """Know the runs from ``jobs``; their files lie below ``scratch``, in one folder per account.

        ``reports`` has the outputs of reports.
        """
        self._reports = reports
        self._jobs = jobs
        self._scratch = scratch

    def folder(self, job: Job) -> Path:
        """Return where a finished run's outputs lie."""
        return self._scratch / str(job.request.account_id) / f"{job.id}.{job.epoch}" / "out"

    def outputs(self, job: Job) -> list[str]:
        """Return the names of a finished run's outputs."""
        if job.request.type != ANALYSIS or job.state is not JobState.SUCCESS:
            return []
        return sorted(file.stem for file in self.folder(job).glob("*.parquet"))

    def report_outputs(self, job: Job) -> list[str]:
        """Return the names by which SQL reads the outputs of a report's finished run.

        Raises:
            NotFound: the run is not finished, or is not kept any more.
        """
        return [] if self._reports is None else list(self._reports.files(job))

    def file(self, account_id: int, ref: RunRef) -> Path:
        """Return the Parquet file of an output.

        Raises:
            NotFound: the account has no such run, it has not ended well, or it has no such output.
            InvalidInput: several analyses of a report have it.
        """
        job = self._jobs.get(account_id, ref.run)
        if job.request.type == REPORT and self._reports is not None:
            return self._reports.file(job, ref.output)
        if job.request.type != ANALYSIS:
            raise NotFound(
                f"Job {ref.run} is no analysis and no report.", hint="Only their outputs are kept as tables."
            )
        if job.state is not JobState.SUCCESS:
            raise NotFound(f"Run {ref.run} has no outputs: it is {job.state.value}.")
        found = self.outputs(job)
        if ref.output not in found:
            raise NotFound(f"Run {ref.run} has no output {ref.output!r}.", hint=_there_are(found))
        return self.folder(job) / f"{ref.output}.parquet"


def _there_are(outputs: Sequence[str]) -> str:
    return f"It has {', '.join(outputs)}." if outputs else "Its files are gone: run the analysis anew."
