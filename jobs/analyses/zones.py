"""Calendar periods by the clock on the wall of a time zone, in integer arithmetic that both engines share.

The offsets of a zone come from one table of time zones, Python's, and go into the SQL as numbers: two engines
with two tables of their own could disagree about a day.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jobs.analyses import periods
from jobs.analyses.analysis import SECONDS_PER_DAY
from jobs.engine.text import query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobs.engine.port import Dialect, Engine

#: Zones are followed up to here; later times keep the offset that stands then. 2100-01-01.
HORIZON = 4_102_444_800
_EPOCH = date(1970, 1, 1)
#: Times may lie in the last month that Python has dates for, and the month after it begins somewhere, too.
_LAST_DAY = (date.max - _EPOCH).days
_PAST_MONTHS = (date.max.year + 1) * 12
_MONDAY = 3  # 1970-01-01 was a Thursday: week 0 began three days before


@dataclass(frozen=True, slots=True)
class Offset:
    """From this second on (Unix), the wall clock is this many seconds ahead of UTC."""

    since: int
    seconds: int


UTC_ONLY = (Offset(0, 0),)


@lru_cache(maxsize=64)
def offsets(zone: str, low: int, high: int) -> tuple[Offset, ...]:
    """The zone's offsets over the seconds low..high; the first holds for everything before, too."""
    known = ZoneInfo(zone)

    def ahead(second: int) -> int:
        gap = datetime.fromtimestamp(second, known).utcoffset()
        return 0 if gap is None else int(gap.total_seconds())

    found = [Offset(low, ahead(low))]
    for second in range(low, min(high, HORIZON) + SECONDS_PER_DAY, SECONDS_PER_DAY):
        if (now := ahead(second)) != found[-1].seconds:
            found.append(Offset(_change(ahead, second - SECONDS_PER_DAY, second), now))
    return tuple(found)


def _change(ahead: Callable[[int], int], before: int, after: int) -> int:
    """The second at which the offset becomes that of `after`."""
    wanted = ahead(after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if ahead(middle) == wanted else (middle, after)
    return after


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days, Monday weeks, months or hours of a zone. The SQL methods take and give SQL text.

    A day is what the wall clock calls one: 23 or 25 hours long where the clocks change.
    """

    dialect: Dialect
    unit: str
    offsets: tuple[Offset, ...]

    def index(self, time: str) -> str:
        """SQL: the number of the period that holds a time; the next period has the next number."""
        return periods.index(self.dialect, self.unit, self.local(time))

    def day(self, time: str) -> str:
        """SQL: the number of the day, whatever the unit."""
        return periods.day_number(self.local(time))

    def start(self, number: str) -> str:
        """SQL: the first second of a period, given its number."""
        wall = periods.start(self.dialect, self.unit, number)
        if len(self.offsets) == 1:
            return _less(wall, self.offsets[0].seconds)
        edges = [after.since + before.seconds for before, after in self._changes()]
        first = _less(f"({wall})", self.offsets[0].seconds)
        later = [f"GREATEST({_less(f'({wall})', o.seconds)}, {o.since})" for o in self.offsets[1:]]
        return f"CAST({_choose(f'({wall})', edges, [first, *later])} AS BIGINT)"

    def local(self, time: str) -> str:
        """SQL: what the wall clock shows, as seconds since it showed 1970-01-01 00:00."""
        if len(self.offsets) == 1:
            return _less(time, -self.offsets[0].seconds)
        edges = [offset.since for offset in self.offsets[1:]]
        return f"({time} + {_choose(time, edges, [str(offset.seconds) for offset in self.offsets])})"

    def period_of(self, second: int) -> int:
        """The number of the period that holds a second."""
        place = bisect_right([offset.since for offset in self.offsets], second)
        wall = second + self.offsets[max(place - 1, 0)].seconds
        if self.unit == "hour":
            return wall // 3_600
        day = wall // SECONDS_PER_DAY
        if self.unit == "day":
            return day
        if self.unit == "week":
            return (day + _MONDAY) // 7
        if day > _LAST_DAY:
            return _PAST_MONTHS
        on = _EPOCH + timedelta(days=day)
        return on.year * 12 + on.month - 1

    def start_of(self, number: int) -> int:
        """The first second of a period."""
        if self.unit == "hour":
            return self._second(number * 3_600)
        if self.unit == "month" and number >= _PAST_MONTHS:
            return self._second((_LAST_DAY + 1) * SECONDS_PER_DAY)
        if self.unit == "month":
            return self.midnight(date(number // 12, number % 12 + 1, 1))
        days = number if self.unit == "day" else number * 7 - _MONDAY
        return self._second(days * SECONDS_PER_DAY)

    def midnight(self, day: date) -> int:
        """The first second of a day."""
        return self._second((day - _EPOCH).days * SECONDS_PER_DAY)

    def moment(self, given: int | str, *, end_of_day: bool = False) -> int:
        """The second that a parameter made by `moment()` means: a date is a day of this zone."""
        if isinstance(given, int):
            return given
        day = (date.fromisoformat(given) - _EPOCH).days + end_of_day
        return self._second(day * SECONDS_PER_DAY) - end_of_day

    def _second(self, wall: int) -> int:
        """The first second at which the wall clock shows this or later."""
        for before, after in self._changes():
            if wall < after.since + before.seconds:
                return wall - before.seconds if before is self.offsets[0] else _later(wall, before)
        last = self.offsets[-1]
        return _later(wall, last) if len(self.offsets) > 1 else wall - last.seconds

    def _changes(self) -> list[tuple[Offset, Offset]]:
        return list(zip(self.offsets, self.offsets[1:], strict=False))


def _later(wall: int, offset: Offset) -> int:
    return max(wall - offset.seconds, offset.since)


def _less(text: str, seconds: int) -> str:
    return text if not seconds else f"({text} - {seconds})" if seconds > 0 else f"({text} + {-seconds})"


def _choose(value: str, edges: Sequence[int], results: Sequence[str]) -> str:
    """SQL: the result of the interval that a value lies in, found by halving."""
    if not edges:
        return results[0]
    middle = len(edges) // 2
    below = _choose(value, edges[:middle], results[: middle + 1])
    above = _choose(value, edges[middle + 1 :], results[middle + 1 :])
    return f"CASE WHEN {value} < {edges[middle]} THEN {below} ELSE {above} END"


def calendar(engine: Engine, unit: str, zone: str, relation: str, *given: int | str | None) -> Calendar:
    """The calendar of a zone over the times of a relation, and over moments that were given."""
    if zone == "UTC":
        return Calendar(engine.dialect, unit, UTC_ONLY)
    row = engine.collect(query("staging", "time_range", relation=relation)).to_pylist()[0]
    times = [row["earliest"] or 0, row["latest"] or 0]
    for value in given:
        if isinstance(value, str):
            on = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
            times.append(int(on.timestamp()))
        elif value is not None:
            times.append(value)
    # Some weeks more on both sides, so that the edges of the periods at the ends are known, too.
    return Calendar(
        engine.dialect,
        unit,
        offsets(zone, min(times) - 40 * SECONDS_PER_DAY, max(times) + 70 * SECONDS_PER_DAY),
    )
