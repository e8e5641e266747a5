"""Treasure Data's way of writing times, zones, durations and intervals, as Unix seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from platform_core.base.errors import InvalidInput

_STAMP = re.compile(
    r"^\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?"
    r"\s*([A-Za-z_/]+|[+-]\d{2}:?\d{2})?\s*$"
)
_OFFSET = re.compile(r"^([+-])(\d{2}):?(\d{2})$")
_PART = re.compile(r"([+-]?\d+)([wdhms])")
_DURATION = re.compile(r"^[+-]?(?:\d+[wdhms])+$")
_SPEC = re.compile(r"^([+-]?\d+)([smhdwMqy])(?:/(.+))?$")
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_MONTHS = {"M": 1, "q": 3, "y": 12}
_ABBREVIATIONS = {
    "JST": "Asia/Tokyo", "KST": "Asia/Seoul", "UTC": "UTC", "GMT": "UTC", "Z": "UTC",
    "PST": "Etc/GMT+8", "PDT": "Etc/GMT+7", "MST": "Etc/GMT+7", "MDT": "Etc/GMT+6", "CST": "Etc/GMT+6",
    "CDT": "Etc/GMT+5", "EST": "Etc/GMT+5", "EDT": "Etc/GMT+4", "CET": "Etc/GMT-1", "CEST": "Etc/GMT-2",
    "BST": "Etc/GMT-1",
}  # fmt: skip


def zone_name(text: str) -> str:
    """Return the name by which DuckDB knows the zone ``text``: IANA, an abbreviation or a whole-hour offset.

    Raises:
        InvalidInput: there is no such zone.
    """
    offset = _OFFSET.match(text)
    if offset is not None:
        sign, hours, minutes = offset.groups()
        if minutes != "00":
            raise InvalidInput(
                f"The offset {text!r} is not a whole hour.", hint="Name the zone, as in Asia/Kolkata."
            )
        return f"Etc/GMT{'-' if sign == '+' else '+'}{int(hours)}" if int(hours) else "UTC"
    name = _ABBREVIATIONS.get(text.upper(), text)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            f"The time zone {text[:60]!r} is not known.", hint="Use a name like Asia/Tokyo."
        ) from error
    return name


def _zone(text: str) -> tzinfo:
    offset = _OFFSET.match(text)
    if offset is not None:
        seconds = int(offset[2]) * 3600 + int(offset[3]) * 60
        return timezone(timedelta(seconds=-seconds if offset[1] == "-" else seconds))
    return ZoneInfo(zone_name(text))


def parse_time(text: str, zone: str = "UTC") -> int | None:
    """Return Unix seconds of ``YYYY-MM-DD[ HH:MM[:SS]][ zone]``, or None; a zone in the text wins."""
    match = _STAMP.match(text)
    if match is None:
        return None
    numbers = [int(part or 0) for part in match.groups()[:6]]
    try:
        return int(datetime(*numbers, tzinfo=_zone(match[7] or zone)).timestamp())  # type: ignore[arg-type,misc]
    except (ValueError, OverflowError):
        return None


def parse_duration(text: str) -> int:
    """Return the seconds of a duration such as ``1h30m`` or ``-7d``.

    Raises:
        InvalidInput: it is none.
    """
    if not _DURATION.match(text):
        raise InvalidInput(f"{text[:60]!r} is not a duration.", hint="Write it like 1d, -2h or 1h30m.")
    sign = -1 if text.startswith("-") else 1
    return sign * sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(text.lstrip("+-")))


def _truncate(moment: datetime, unit: str) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = {
        "s": moment.replace(microsecond=0),
        "m": moment.replace(second=0, microsecond=0),
        "h": moment.replace(minute=0, second=0, microsecond=0),
        "d": day,
        "w": day - timedelta(days=day.weekday()),
        "M": day.replace(day=1),
        "q": day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1),
        "y": day.replace(day=1, month=1),
    }
    return starts[unit]


def _shift(moment: datetime, count: int, unit: str) -> datetime:
    if unit in _MONTHS:
        months = moment.year * 12 + moment.month - 1 + count * _MONTHS[unit]
        return moment.replace(year=months // 12, month=months % 12 + 1, day=1)
    if unit in "hms":  # these count real seconds, days count calendar days
        real = moment.astimezone(UTC) + timedelta(seconds=count * _SECONDS[unit])
        return real.astimezone(moment.tzinfo)
    return moment + timedelta(seconds=count * _SECONDS[unit])


def interval(spec: str, zone: str, now: int) -> tuple[int, int]:
    """Return [from, to) of a TD_INTERVAL: ``-7d`` is the 7 days before today, ``1d`` today.

    Raises:
        InvalidInput: the spec is malformed.
    """
    match = _SPEC.match(spec.strip())
    if match is None:
        raise InvalidInput(
            f"{spec[:60]!r} is not an interval.", hint="Write it like -7d, 1d, -1h/now or -7d/2015-12-25."
        )
    count, unit, offset = int(match[1]), match[2], match[3]
    current = datetime.fromtimestamp(now, _zone(zone))
    try:
        if offset == "now":
            return int(_shift(_truncate(current, unit), count, unit).timestamp()), now
        base = _truncate(current, unit) if offset is None else _offset_base(offset, zone, current)
        other = _shift(base, count, unit)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"The interval {spec[:60]!r} is out of range.") from error
    first, last = sorted((int(base.timestamp()), int(other.timestamp())))
    return first, last


def _offset_base(offset: str, zone: str, current: datetime) -> datetime:
    match = _SPEC.match(offset)
    if match is not None and match[3] is None:
        return _shift(_truncate(current, match[2]), int(match[1]), match[2])
    seconds = parse_time(offset, zone)
    if seconds is None:
        raise InvalidInput(f"The interval's offset {offset[:60]!r} is not a time.")
    return datetime.fromtimestamp(seconds, _zone(zone))


_JAVA = {
    "yyyy": "%Y", "yy": "%y", "y": "%Y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "dd": "%d",
    "d": "%-d", "DDD": "%j", "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M",
    "ss": "%S", "s": "%-S", "SSS": "%g", "EEEE": "%A", "EEE": "%a", "E": "%a", "a": "%p",
}  # fmt: skip
_JAVA_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")


def strftime_format(pattern: str, zone: str) -> str:
    """Translate a Java SimpleDateFormat pattern to the strftime format that DuckDB takes.

    Raises:
        InvalidInput: a letter has no counterpart.
    """
    parts = []
    for match in _JAVA_TOKEN.finditer(pattern):
        text = match[0]
        if text.startswith("'"):
            parts.append("'" if text == "''" else match[1].replace("''", "'").replace("%", "%%"))
        elif not text[0].isalpha():
            parts.append(text.replace("%", "%%"))
        elif text in _JAVA:
            parts.append(_JAVA[text])
        elif text[0] in "zZX":
            parts.append(_zone_text(text, zone))
        else:
            raise InvalidInput(f"The format letter {text!r} is not supported.")
    return "".join(parts)


def _zone_text(letters: str, zone: str) -> str:
    tz = _zone(zone)
    january, july = datetime(2026, 1, 1, tzinfo=tz), datetime(2026, 7, 1, tzinfo=tz)
    if january.utcoffset() != july.utcoffset():
        raise InvalidInput(f"The format letter {letters!r} needs a zone without summer time.")
    if letters[0] == "z":
        return zone if zone.isalpha() else str(january.tzname())
    plain = january.strftime("%z")
    return plain if letters[0] == "Z" else ("Z" if plain == "+0000" else f"{plain[:3]}:{plain[3:]}")
