"""The outputs of a report's analyses as tables: of the report's job 57, ``runs.run_57.products__ranking``.

``products`` is the analysis' key within the report. Where one analysis only has an output of a name, that
name alone will do. A report's run is kept for as long as the report says (``keep_runs``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from addon.models.jobs import Job
    from addon.store.reports import ReportStore

BETWEEN = "__"
"""Between key and output; no output's name holds it, so that a name means one file."""
_TABLES = "tables"
_READABLE = 0o755


class ReportOutputs:
    """Finds the files of reports' runs."""

    def __init__(self, store: ReportStore, root: Path) -> None:
        """Know the runs from ``store``; their files lie below ``root``, in one folder per account."""
        self._store = store
        self._root = root

    def files(self, job: Job) -> Mapping[str, Path]:
        """Return the Parquet files of the run that a job made, by the outputs' whole names.

        Raises:
            NotFound: the run is not finished, or is not kept any more.
        """
        run = self._store.run_of_job(job.request.account_id, job.id)
        if run is None:
            raise NotFound(
                f"Job {job.id} has no run of a report: it has not begun, or the run is not kept any more.",
                hint="GET /api/reports/NAME/runs lists those that are kept.",
            )
        if run.folder is None:
            raise NotFound(
                f"Run {run.id} of the report {run.report} has no outputs: it is {run.state.value}."
            )
        folder = self._root / str(run.account_id) / run.folder
        found = {file.stem.replace(".", BETWEEN): file for file in (folder / _TABLES).glob("*.parquet")}
        if found:  # a worker has a user of its own; the root of all reports stays closed
            for place in (folder, folder / _TABLES):
                place.chmod(_READABLE)
        return dict(sorted(found.items()))

    def file(self, job: Job, output: str) -> Path:
        """Return the file of an output, named whole or, where that is clear, without its analysis' key.

        Raises:
            NotFound: there is no such run, or it has no such output.
            InvalidInput: several analyses have it.
        """
        files = self.files(job)
        short = [name for name in files if name.rpartition(BETWEEN)[2] == output]
        names = [output] if output in files else short
        if len(names) > 1:
            raise InvalidInput(
                f"Several analyses of the report's run {job.id} have an output {output!r}.",
                hint=f"Write {' or '.join(names)[:500]}.",
            )
        if not names:
            there = (
                f"It has {', '.join(files)[:500]}." if files else "Its files are gone: run the report anew."
            )
            raise NotFound(f"The report's run {job.id} has no output {output[:140]!r}.", hint=there)
        return files[names[0]]
