"""Time as the programs read it: one port, so that tests can set it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a component reads the time of day."""

    def now(self) -> float:
        """Return Unix seconds, UTC, with a fraction."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return Unix seconds, UTC, with a fraction."""
        return time.time()


class FixedClock:
    """A clock that moves only when told to; for tests and for replaying a run."""

    def __init__(self, start: float = 0.0) -> None:
        """Start at ``start`` Unix seconds."""
        self._now = start

    def now(self) -> float:
        """Return the set time in Unix seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock by ``seconds``."""
        self._now += seconds


def iso8601(seconds: float) -> str:
    """Return ``seconds`` as the Platform API writes times: ``2026-01-02T03:04:05Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micros(seconds: float) -> str:
    """Return ``seconds`` as Logplex writes times: six fractional digits and ``+00:00``."""
    stamp = datetime.fromtimestamp(seconds, UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
