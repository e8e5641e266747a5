"""The versions that a run keeps so that it can be repeated: pinned when it ends, let go with its job."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from addon.models.jobs import JobState
from addon.models.tables import TableRef
from addon.query.saved_runs import ANALYSIS
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from addon.models.jobs import Job
    from addon.query.pins import Pins
    from addon.store.jobs import JobStore
    from addon.warehouse.versions import Versions

_EARLY_S = 60.0
"""Pins go before their job is deleted: nobody else knows of them."""


def pin_name(job: Job) -> str:
    """Return the name of a run's pins; its form is part of what customers see in their lists of pins."""
    return f"analysis-{job.id}"


class RunPins:
    """Pins and unpins; blocking."""

    def __init__(self, versions: Versions, jobs: JobStore, keep_s: float) -> None:
        """Pin ``versions``; ``jobs`` are deleted ``keep_s`` seconds after their end."""
        self._versions = versions
        self._jobs = jobs
        self._keep_s = keep_s

    def pin(self, job: Job, refs: Iterable[TableRef], pins: Pins) -> None:
        """Keep the versions that a run read.

        Raises:
            InvalidInput: a table has too many pins.
            NotFound: a version is gone.
        """
        for ref in refs:
            version = pins.of(ref).version
            if version is not None:
                self._let_go(ref, job)  # an earlier execution of the job has pinned what it read
                self._versions.pin(ref, pin_name(job), version)

    def expire(self) -> None:
        """Let the versions of the runs go whose jobs are about to be deleted."""
        before = self._jobs.now() - self._keep_s + _EARLY_S
        for job in self._jobs.ended_before(before, ANALYSIS):
            if job.state is JobState.SUCCESS and job.request.params.get("pin"):
                for ref in _read(job):
                    self._let_go(ref, job)

    def _let_go(self, ref: TableRef, job: Job) -> None:
        with suppress(NotFound):
            self._versions.unpin(ref, pin_name(job))


def _read(job: Job) -> set[TableRef]:
    """Return the tables that a run's manifest names."""
    inputs = json.loads(job.cmdout)["inputs"].values()
    return {
        TableRef(job.request.account_id, table["database"], table["table"])
        for entry in inputs
        for table in entry.get("tables", ())
    }
