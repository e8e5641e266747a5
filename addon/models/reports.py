"""Reports: analyses that are computed together, rendered, kept and delivered; their runs and deliveries."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class ReportAnalysis:
    """One analysis of a report."""

    key: str
    """Names it within the report and in its files: ``products``."""
    analysis: str
    title: str
    database: str
    request: Mapping[str, Any]
    """What the analyses' route takes beside: ``inputs`` or ``tables``, ``params``, ``engine``, ``dialect``.

    Texts may hold ``${from}``, ``${to}`` and ``${slot}``, Unix seconds of the run.
    """


@dataclass(frozen=True, slots=True)
class DeliveryTarget:
    """Where a report is sent; ``settings`` hold secrets in clear and are never shown as they are."""

    name: str
    type: str
    settings: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Period:
    """Which time a run is about."""

    unit: str | None
    """``hour``, ``day``, ``week`` (from Monday), ``month``; None: all there is."""
    zone: str
    which: str
    """``previous``: the last one that is over at the slot; ``current``: the one that the slot is in."""
    tolerance_s: int | None
    """How long before the period's end the newest row may lie; None: a twenty-fourth of the period."""


@dataclass(frozen=True, slots=True)
class Window:
    """A run's time, [start, end) in Unix seconds; both None where it is about all there is."""

    start: int | None
    end: int | None
    words: str


@dataclass(frozen=True, slots=True)
class ReportDefinition:
    """What a user defines."""

    name: str
    title: str
    currency: str
    period: Period
    analyses: Sequence[ReportAnalysis]
    deliveries: Sequence[DeliveryTarget]
    keep_runs: int


@dataclass(frozen=True, slots=True)
class Report:
    """A definition as it is kept; times are Unix seconds."""

    account_id: int
    definition: ReportDefinition
    revision: int
    created_at: float
    updated_at: float


class RunState(StrEnum):
    """Where a run stands; all but the first are final."""

    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ReportRun:
    """One run of a report: there is one per job, whatever happens to the job's worker."""

    id: int
    account_id: int
    report: str
    job_id: int
    epoch: int
    """The job's execution that computed it, or computes it now."""
    revision: int
    """Of the definition that it was made from."""
    slot: int
    window: Window
    state: RunState
    folder: str | None
    """Below the account's folder of reports; None until it is rendered."""
    facts: Mapping[str, Any]
    """What it found: hashes, versions of the tables, what is missing, figures of the sections."""
    error: str
    started_at: float
    ended_at: float | None


class DeliveryState(StrEnum):
    """Where a delivery stands: waiting for an attempt, done, or given up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunDelivery:
    """One delivery of one run."""

    run_id: int
    name: str
    type: str
    target: str
    """Where it goes, in words without secrets."""
    state: DeliveryState
    attempts: int
    next_at: float | None
    """When the next attempt may begin."""
    error: str
    """Why the last attempt failed; empty after a success."""
    delivered_at: float | None

    @property
    def key(self) -> str:
        """The same for every attempt: by it, a receiver knows a repeat."""
        return f"report-run-{self.run_id}-{self.name}"
