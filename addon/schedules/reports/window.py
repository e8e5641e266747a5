"""The time that a run is about, from its slot: calendar periods of a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from addon.models.reports import Window

if TYPE_CHECKING:
    from addon.models.reports import Period

_HOUR = 3_600
_DECEMBER = 12


def window_of(period: Period, slot: int) -> Window:
    """Return the period that a run for ``slot`` (Unix seconds) is about.

    ``previous`` is the last period that is over at the slot: a slot on a boundary has the one that ends
    there. Hours are hours of the clock, 3,600 s each, also where the zone's offset is not a whole hour.
    """
    if period.unit is None:
        return Window(None, None, "")
    zone = ZoneInfo(period.zone)
    if period.unit == "hour":
        start, end = _hour(slot, zone)
        if period.which == "previous":
            start, end = start - _HOUR, start
        return Window(start, end, _hour_words(start, zone))
    first = _first_day(datetime.fromtimestamp(slot, zone).date(), period.unit)
    if period.which == "previous":
        first = _first_day(first - timedelta(days=1), period.unit)
    after = _following(first, period.unit)
    return Window(_midnight(first, zone), _midnight(after, zone), _words(first, after, period))


def _hour(slot: int, zone: ZoneInfo) -> tuple[int, int]:
    offset = datetime.fromtimestamp(slot, zone).utcoffset() or timedelta()
    start = slot - (slot + int(offset.total_seconds())) % _HOUR
    return start, start + _HOUR


def _first_day(day: date, unit: str) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def _following(first: date, unit: str) -> date:
    if unit == "month":
        return date(first.year + first.month // _DECEMBER, first.month % _DECEMBER + 1, 1)
    return first + timedelta(days=7 if unit == "week" else 1)


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Return the day's first second: the first after a gap where the clock skips midnight."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).timestamp())


def _words(first: date, after: date, period: Period) -> str:
    if period.unit == "day":
        text = f"{first:%A}, {first.day} {first:%B %Y}"
    elif period.unit == "month":
        text = f"{first:%B %Y}"
    else:
        last = after - timedelta(days=1)
        text = f"{first:%a} {first.day} {first:%b} to {last:%a} {last.day} {last:%b %Y}"
    return f"{text} ({period.zone})"


def _hour_words(start: int, zone: ZoneInfo) -> str:
    begins, ends = (datetime.fromtimestamp(at, zone) for at in (start, start + _HOUR))
    return f"{begins:%Y-%m-%d %H:%M} to {ends:%H:%M} ({zone.key})"
