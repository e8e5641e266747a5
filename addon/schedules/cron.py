"""Cron arithmetic: which slots a schedule has, as Unix seconds.

At clock changes it does what Debian's cron does. When both the minute and the hour name times
(``30 2 * * *``), each wall time fires once: one that the spring change skips fires at the first minute after
the gap, one that comes twice in autumn fires at its first occurrence. When one of the two fields starts with
a star (``0 * * * *``, ``*/10 * * * *``), the schedule follows real time: it fires at each instant whose wall
time matches.

cronsim knows the expressions and the calendar. It is asked for wall times without a zone, which become
instants here: with a zone it steps over slots where the clock changes by half an hour.
"""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime, timedelta
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
LATEST = 250_246_627_200
"""The first second of the year 9900: no slot is looked for after it."""
_COUNTED = 10_000
"""Skipped slots are counted up to here."""
_FIELDS = 5
_MINUTE, _DAY = 60, 86_400
_ANY_TIME = datetime(2026, 1, 1)  # noqa: DTZ001  (a wall time)
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_SPAN_OF_ONE = re.compile(r"\b(\w+)-\1/[1-9]\d*\b")
"""``5-5/2`` names 5 alone; cronsim would read it as ``5/2``, from 5 on to the end."""
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
        self._fields = _SPAN_OF_ONE.sub(r"\1", _NAMED.get(text.strip().lower(), text))
        if len(text) > MAX_CRON or len(self._fields.split()) != _FIELDS:
            raise InvalidInput(f"{text[:80]!r} is not a cron expression.", hint=_WRITE)
        try:
            CronSim(self._fields, _ANY_TIME)
        except CronSimError as error:
            raise InvalidInput(f"In the cron expression {text[:80]!r}: {error}.", hint=_WRITE) from error

    def after(self, moment: float) -> Iterator[int]:
        """Yield the slots after a time (Unix seconds), the next one first."""
        last = moment
        minute, hour = self._fields.split()[:2]
        real_time = minute.startswith("*") or hour.startswith("*")
        for at in self._by_time(int(moment)) if real_time else self._by_wall(int(moment)):
            if at >= LATEST:
                return
            if at > last:
                yield at
                last = at

    def _by_wall(self, moment: int) -> Iterator[int]:
        """Yield the instant of each wall time; some may be before ``moment``, or equal to the one before."""
        for wall in CronSim(self._fields, _wall(moment, self._offset(moment))):
            shifted = wall
            while (found := self._instant(shifted)) is None:
                shifted += timedelta(minutes=1)
            yield found

    def _instant(self, wall: datetime) -> int | None:
        """Return when a wall time is the first time; None when it is skipped."""
        at = int(wall.replace(tzinfo=self._zone).timestamp())
        return at if _wall(at, self._offset(at)) == wall else None

    def _by_time(self, moment: int) -> Iterator[int]:
        """Yield every instant whose wall time matches, span by span of one offset."""
        at, offset = moment, self._offset(moment)
        change: int | None = moment
        while change is not None:
            change = None
            for wall in CronSim(self._fields, _wall(at, offset)):
                slot = int(wall.replace(tzinfo=UTC).timestamp()) - offset
                change = self._change(at, min(slot, LATEST), offset)
                if change is not None:
                    at, offset = change - 1, self._offset(change)
                    break
                yield slot
                at = slot

    def _offset(self, moment: int) -> int:
        """Return how many seconds the zone's clock is ahead of UTC."""
        offset = datetime.fromtimestamp(moment, self._zone).utcoffset()
        return 0 if offset is None else int(offset.total_seconds())

    def _change(self, first: int, last: int, offset: int) -> int | None:
        """Return the first second after ``first`` and up to ``last`` at which the offset is another one."""
        while first < last:
            following = min(first + _DAY, last)
            if self._offset(following) != offset:
                while following - first > 1:
                    middle = (first + following) // 2
                    if self._offset(middle) == offset:
                        first = middle
                    else:
                        following = middle
                return following
            first = following
        return None

    def since(self, moment: int) -> Iterator[int]:
        """Yield the slots from a time on, itself included when it is one."""
        return self.after(moment - 1)

    def following(self, moment: float) -> int | None:
        """Return the first slot after a time; None when there is none any more."""
        return next(self.after(moment), None)

    def newest(self, first: int, until: float, most: int) -> list[int]:
        """Return the newest ``most`` slots from ``first`` to ``until``, the oldest of them first."""
        span = most * _MINUTE  # a slot a minute is the densest there is
        while True:
            begin = max(first, int(until) - span)
            found = deque(takewhile(lambda at: at <= until, self.since(begin)), most)
            if len(found) == most or begin == first:
                return list(found)
            span *= 4

    def count(self, first: int, before: int) -> int:
        """Return how many slots there are from ``first`` on and before ``before``; cut at ten thousand."""
        return sum(1 for _ in islice(takewhile(lambda at: at < before, self.since(first)), _COUNTED))


def _wall(moment: int, offset: int) -> datetime:
    return datetime.fromtimestamp(moment + offset, UTC).replace(tzinfo=None)
