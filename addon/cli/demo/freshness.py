"""Measures freshness: from the moment a line is printed to the first answer that has its row.

The shop numbers its events with the microsecond at which it prints them, so each row tells its own age. A
thread asks for new rows all through the run, as a live dashboard would; its own waiting counts in full.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from addon.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from addon.cli.client import Client

_POLL_SECONDS = 0.75
_LOOK_BACK_MICROS = 5_000_000
"""How far behind the newest row a late one may come and still be found."""
_MICROS = 1_000_000
_STALL_SECONDS = 30.0
_TABLE_MISSING = {Exit.NOT_FOUND, Exit.JOB_FAILED}
"""How queries fail before the first row has made its table."""


class FreshnessProbe:
    """Asks for new rows until stopped; keeps each row's latency in seconds."""

    def __init__(self, client: Client, database: str) -> None:
        """Ask with this client, which no other thread may use."""
        self._client, self._database = client, database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="freshness", daemon=True)
        self._polled = threading.Event()
        self._latency: dict[int, float] = {}
        self._newest = 0
        self.polls = 0
        self.failure: Failure | None = None

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking."""
        self._stop.set()
        self._thread.join()

    def require_asking(self) -> None:
        """Check that it has not given up.

        Raises:
            Failure: it has: what it met was not a table that is still to come.
        """
        if self.failure is not None and not self._thread.is_alive():
            raise self.failure

    def require_sound(self) -> None:
        """Check that every query was answered.

        Raises:
            Failure: one was not.
        """
        if self.failure is not None:
            raise self.failure

    def wait_seen(self, rows: int, show: Callable[[str], None]) -> int:
        """Return how many rows were seen once that is ``rows``, or has not grown for half a minute."""
        seen, deadline = -1, time.monotonic() + _STALL_SECONDS
        while seen < rows and time.monotonic() < deadline and self._thread.is_alive():
            if self.seen > seen:
                seen, deadline = self.seen, time.monotonic() + _STALL_SECONDS
                show(f"{seen:,} of {rows:,} rows")
            self._polled.wait(_POLL_SECONDS)
            self._polled.clear()
        return self.seen

    def _run(self) -> None:
        next_poll = time.monotonic()
        while not self._stop.wait(max(0.0, next_poll - time.monotonic())):
            next_poll = time.monotonic() + _POLL_SECONDS
            try:
                self._poll()
                self.failure = None
            except Failure as failure:
                self.failure = failure
                if self._newest or failure.code not in _TABLE_MISSING:
                    return

    def _poll(self) -> None:
        since = max(0, self._newest - _LOOK_BACK_MICROS)
        result = self._client.query_now(self._database, f"SELECT seq FROM events WHERE seq > {since:d}")  # noqa: S608  # a number of ours
        self.note([int(row[0]) for row in result.rows], time.time())
        self.polls += 1
        self._polled.set()

    def note(self, seqs: list[int], now: float) -> None:
        """Take the rows of one answer that came at ``now`` (Unix seconds)."""
        for seq in seqs:
            self._latency.setdefault(seq, now - seq / _MICROS)
        self._newest = max(self._newest, *seqs) if seqs else self._newest

    @property
    def seen(self) -> int:
        """How many rows were seen as new."""
        return len(self._latency)

    def percentile(self, fraction: float, rows: int) -> float:
        """Return the latency that ``fraction`` of ``rows`` rows kept; rows never seen count as infinite."""
        ordered = sorted(self._latency.values())
        place = max(0, math.ceil(fraction * rows) - 1)
        return ordered[place] if place < len(ordered) else float("inf")
