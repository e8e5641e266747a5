"""Jobs: a query or an analysis that was asked for, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class JobState(StrEnum):
    """Where a job stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    KILLED = "killed"

    @property
    def final(self) -> bool:
        """Whether the job will not change any more."""
        return self in {JobState.SUCCESS, JobState.ERROR, JobState.KILLED}


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is asked for. ``type`` is a SQL dialect (trino, presto, hive, duckdb) or ``analysis``."""

    account_id: int
    type: str
    database: str
    query: str
    max_running: int
    """How many jobs of the account may run at once: its plan's limit."""
    params: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    retry_limit: int = 0
    domain_key: str | None = None
    scheduled_time: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the queue knows it; times are Unix seconds."""

    id: int
    request: JobRequest
    state: JobState
    epoch: int
    kill_requested: bool
    created_at: float
    started_at: float | None
    ended_at: float | None
    num_records: int | None
    result_size: int | None
    """Exact length in bytes of the stored msgpack.gz."""
    result_schema: Sequence[tuple[str, str]]
    """(name, type in the dialect's words) per column."""
    result_path: str | None
    stderr: str
    cmdout: str
    failures: int = 0
    """How often it was executed and ended as an error, before the execution that runs or waits now."""
    progress: Mapping[str, Any] | None = None
    """How far the execution that runs now has come: ``stage`` and ``percent``; None where nobody says."""


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How one execution of a job ended."""

    state: JobState
    num_records: int | None = None
    result_size: int | None = None
    result_schema: Sequence[tuple[str, str]] = ()
    result_path: str | None = None
    stderr: str = ""
    cmdout: str = ""
    refused: bool = False
    """It ended as an error that another attempt cannot mend: what was asked for is not valid."""
