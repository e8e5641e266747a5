"""Calendar periods in integer arithmetic on Unix seconds, UTC: hours, days, Monday weeks, months."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.engine.port import Dialect

UNITS = ("hour", "day", "week", "month")


def day_number(time: str) -> str:
    """Days since 1970-01-01."""
    return f"CAST(FLOOR({time} / 86400) AS BIGINT)"


def index(dialect: Dialect, unit: str, time: str) -> str:
    """The number of the period that holds a time; the next period has the next number."""
    if unit == "hour":
        return f"CAST(FLOOR({time} / 3600) AS BIGINT)"
    if unit == "day":
        return day_number(time)
    if unit == "week":
        # 1970-01-01 was a Thursday: three days after the Monday that week 0 starts on.
        return f"CAST(FLOOR(({day_number(time)} + 3) / 7) AS BIGINT)"
    return dialect.month_index(day_number(time))


def start(dialect: Dialect, unit: str, number: str) -> str:
    """The first second of a period, given its number."""
    if unit == "hour":
        return f"({number}) * 3600"
    if unit == "day":
        return f"({number}) * 86400"
    if unit == "week":
        return f"(({number}) * 7 - 3) * 86400"
    return f"{dialect.month_start(f'({number})')} * 86400"
