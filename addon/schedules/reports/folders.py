"""Where finished runs lie: ``<account>/<report>/<run>.<epoch>`` below one folder that all nodes see."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from addon.models.reports import ReportRun

PAGE, MAIL, TEXT, FACTS = "report.html", "mail.html", "mail.txt", "report.json"
TABLES = "tables"
_FILE = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,200}$")


class ReportFolders:
    """The folders of runs."""

    def __init__(self, root: Path) -> None:
        """Keep them below ``root``."""
        self._root = root

    def fresh(self, run: ReportRun) -> tuple[Path, str]:
        """Return an empty folder for an execution of a run, and how it is called below the account's.

        What another execution of the same job left is deleted: that one can publish nothing any more.
        """
        name = f"{run.report}/{run.id}.{run.epoch}"
        place = self._root / str(run.account_id) / name
        if place.parent.is_dir():
            for left in place.parent.glob(f"{run.id}.*"):
                shutil.rmtree(left, ignore_errors=True)
        place.mkdir(parents=True, mode=0o700)
        return place, name

    def of(self, run: ReportRun) -> Path:
        """Return a finished run's folder.

        Raises:
            NotFound: the run is not finished, or its files are gone.
        """
        place = self._root / str(run.account_id) / (run.folder or "-")
        if run.folder is None or not place.is_dir():
            raise NotFound(f"Run {run.id} of the report {run.report} has no files: it is {run.state.value}.")
        return place

    def file(self, run: ReportRun, *names: str) -> Path:
        """Return one file of a finished run, by a name from outside.

        Raises:
            NotFound: there is no such file.
        """
        path = self.of(run).joinpath(*names)
        if not all(map(_FILE.match, names)) or not path.is_file():
            raise NotFound(f"Run {run.id} of the report {run.report} has no file {'/'.join(names)[:200]}.")
        return path

    def facts(self, run: ReportRun) -> Mapping[str, Any]:
        """Return what a run's ``report.json`` holds."""
        found: dict[str, Any] = json.loads(self.file(run, FACTS).read_text(encoding="utf-8"))
        return found

    def figures(self, run: ReportRun | None) -> dict[str, Any]:
        """Return a run's figures by section; none where its files are gone."""
        if run is None:
            return {}
        with suppress(NotFound, ValueError, KeyError):
            return {section["key"]: section["figures"] for section in self.facts(run)["sections"]}
        return {}

    def drop(self, account_id: int, names: Iterable[str]) -> None:
        """Delete folders of runs that are no more."""
        for name in names:
            shutil.rmtree(self._root / str(account_id) / name, ignore_errors=True)

    def drop_report(self, account_id: int, report: str) -> None:
        """Delete all folders of a report."""
        shutil.rmtree(self._root / str(account_id) / report, ignore_errors=True)
