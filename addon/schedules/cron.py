"""Cron arithmetic: which slots a schedule has, as Unix seconds.

The arithmetic is cronsim's, which follows Debian's cron at clock changes. When the minute and the hour both
name times (``30 2 * * *``), each wall time fires once: one that the spring change skips fires at the first
minute after the gap, one that comes twice in autumn fires at its first occurrence. When one of the two fields
starts with a star (``0 * * * *``, ``*/10 * * * *``), the schedule follows real time: it fires at each instant
whose wall time matches.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from functools import lru_cache
from itertools import islice, takewhile
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CRON = 200
"""Characters of a cron expression."""
LATEST = 253_370_764_800
"""The first second of the year 9999: no slot is looked for after it."""
_COUNTED = 10_000
"""Skipped slots are counted up to here."""
_FIELDS = 5
_MINUTE = 60
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_WRITE = "Write five fields (minute hour day month weekday) or one of {}.".format(", ".join(_NAMED))


@lru_cache(1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


class Cron:
    """A cron expression in a time zone."""

    def __init__(self, text: str, timezone: str) -> None:
        """Read an expression; ``timezone`` is an IANA name.

        Raises:
            InvalidInput: one of the two is not known, or the expression never fires.
        """
        if timezone not in _zones():
            raise InvalidInput(
                f"There is no time zone {timezone[:64]!r}.",
                hint="Use an IANA name, for example UTC or America/Los_Angeles.",
            )
        self._zone = ZoneInfo(timezone)
        self._fields = _NAMED.get(text.strip().lower(), text)
        if len(text) > MAX_CRON or len(self._fields.split()) != _FIELDS:
            raise InvalidInput(f"{text[:80]!r} is not a cron expression.", hint=_WRITE)
        try:
            CronSim(self._fields, datetime.fromtimestamp(0, self._zone))
        except CronSimError as error:
            raise InvalidInput(f"In the cron expression {text[:80]!r}: {error}.", hint=_WRITE) from error

    def after(self, moment: float) -> Iterator[int]:
        """Yield the slots after a time (Unix seconds), the next one first."""
        last = moment
        slots = CronSim(self._fields, datetime.fromtimestamp(int(moment), self._zone))
        for slot in slots:
            at = int(slot.timestamp())
            if at >= LATEST:
                return
            if at > last:  # a wall time that comes twice is its first occurrence, which may be over
                yield at
                last = at

    def since(self, moment: int) -> Iterator[int]:
        """Yield the slots from a time on, itself included when it is one."""
        return self.after(moment - 1)

    def following(self, moment: float) -> int | None:
        """Return the first slot after a time; None when there is none any more."""
        return next(self.after(moment), None)

    def due(self, first: int, until: float, most: int) -> tuple[list[int], int]:
        """Return the newest ``most`` slots from ``first`` to ``until``, and how many are before them.

        Their number is cut at ten thousand. ``first`` is a slot, and not after ``until``.
        """
        span = most * _MINUTE  # a slot a minute is the densest there is
        newest: list[int] = []
        begin = first
        while len(newest) < most:
            begin = max(first, int(until) - span)
            newest = list(deque(takewhile(lambda at: at <= until, self.since(begin)), most))
            if begin == first:
                break
            span *= 4
        if not newest:
            return [], 0
        before = takewhile(lambda at: at < newest[0], self.since(first))
        return newest, sum(1 for _ in islice(before, _COUNTED))
