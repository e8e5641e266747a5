"""How numbers are written for a reader: money, percents, dates, durations, and names cut to a width."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

DASH = "-"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_THOUSAND = 1_000


def count(value: float | None) -> str:
    """A whole number, or one with a decimal where it has one: `6,919`, `12.5`."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def money(minor: float | None) -> str:
    """Minor currency units (hundredths) as an amount: 123456 is `1,234.56`."""
    return DASH if minor is None else f"{minor / 100:,.2f}"


def percent(fraction: float | None) -> str:
    """A fraction as a percent: 0.4249 is `42 %`; below ten percent with a decimal, `4.2 %`."""
    if fraction is None:
        return DASH
    value = fraction * 100
    return f"{value:.1f} %" if 0 < abs(value) < 9.95 else f"{value:.0f} %"  # noqa: PLR2004 - ten percent


def date(second: float | None) -> str:
    """A Unix second as its UTC date: `1997-01-04`."""
    return DASH if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d")


def period(second: float | None, unit: str | None) -> str:
    """A period by its first second: `Jan 1997` for a month, else its date."""
    if second is None or unit != "month":
        return date(second)
    return datetime.fromtimestamp(second, UTC).strftime("%b %Y")


def duration(seconds: float | None) -> str:
    """A duration in the unit that reads well: `45 s`, `12 min`, `3.5 h`, `12 days`."""
    if seconds is None:
        return DASH
    for size, name in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.0f} s"


def size(number: float | None) -> str:
    """Bytes in the unit that reads well: `512 B`, `1.5 MB`, powers of 1000."""
    if number is None:
        return DASH
    value, units = float(number), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    for larger in units:
        if abs(value) < _THOUSAND:
            break
        value, unit = value / _THOUSAND, larger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def written(value: float | None, form: str) -> str:
    """A figure's value by its form: `count`, `money`, `percent`, `bytes`, `seconds` or `ms`."""
    if form == "ms":
        return DASH if value is None else f"{value:,.0f} ms"
    writers = {"money": money, "percent": percent, "bytes": size, "seconds": duration}
    return writers.get(form, count)(value)


def label(name: object) -> str:
    """An identifier as words: `last_non_direct` is `last non direct`; other text stays itself."""
    text = str(name)
    return text.replace("_", " ") if text.replace("_", "").isalnum() and text.islower() else text


def shorten(text: str, width: int) -> str:
    """Cut a text to a width with an ellipsis at the end."""
    return text if len(text) <= width else text[: width - 1] + "…"


def plural(number: int, noun: str) -> str:
    """`1 customer`, `2 customers`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clean(text: str) -> str:
    """Replace control and direction-changing characters.

    They could move a terminal's cursor or turn a line around, and the drawing engine aborts on some of them.
    """
    return "".join(
        "�" if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else char for char in text
    )
