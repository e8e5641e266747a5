"""Whether a run's data is whole, as far as anybody can know: each reason not to be sure is a sentence.

Data counts as incomplete when

- ``period_open``: the period was not over when the tables were read;
- ``late_data``: the newest row of a table that is read lies more than the tolerance before the period's end
  (a twenty-fourth of the period unless the report says otherwise: an hour of a day), so what comes late may
  still be on its way. A row at or after the end shows that the table goes on, whatever its own rhythm is;
- ``no_data``: a table that is read has no rows at all;
- ``node_away``: a node of the fleet was away at the flush barrier and may hold rows that were acknowledged;
- ``dead_letters``: rows arrived within the period that could not be read, and wait in ``logs.dead_letters``;
- ``nothing_to_tell``: an analysis gave no rows.

Without a period only the last four can be known.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from addon.models.reports import Period, Window
    from addon.models.tables import Snapshot, TableRef

_PART = 24
_MINUTE = 60


class Doubt(NamedTuple):
    """A reason why data may be incomplete."""

    code: str
    text: str


def tolerance_of(period: Period, window: Window) -> int:
    """Return how many seconds before the period's end a table's newest row may lie."""
    if period.tolerance_s is not None:
        return period.tolerance_s
    return 0 if window.start is None or window.end is None else (window.end - window.start) // _PART


def doubts(
    period: Period,
    window: Window,
    read_at: float,
    tables: Mapping[TableRef, Snapshot | None],
    warnings: Iterable[str],
) -> list[Doubt]:
    """Return what can be told from the tables' versions that were read at ``read_at`` (Unix seconds)."""
    found = []
    if window.end is not None and window.end > read_at:
        text = f"The period ends at {_time(window.end)}; the data was read before, at {_time(read_at)}."
        found.append(Doubt("period_open", text))
    tolerance = tolerance_of(period, window)
    for ref, snapshot in sorted(tables.items()):
        name = f"{ref.database}.{ref.table}"
        newest = None if snapshot is None else snapshot.max_time
        if snapshot is None or newest is None:
            found.append(Doubt("no_data", f"The table {name} has no rows."))
        elif window.end is not None and newest < min(window.end, int(read_at)) - tolerance:
            found.append(Doubt("late_data", _late(name, newest, window.end)))
    return [*found, *(Doubt("node_away", text) for text in warnings)]


def _late(name: str, newest: int, end: int) -> str:
    gap = (end - newest) // _MINUTE
    hours, minutes = divmod(gap, _MINUTE)
    before = f"{hours:,} h {minutes} min" if hours else f"{minutes} min"
    return f"The newest row of {name} is of {_time(newest)}, {before} before the period ends."


def dead_letters(count: int, tables: Sequence[TableRef]) -> list[Doubt]:
    """Return the doubt that so many dead letters are."""
    if not count:
        return []
    names = ", ".join(f"{ref.database}.{ref.table}" for ref in tables)
    rows = "1 row" if count == 1 else f"{count:,} rows"
    verb = "lies" if count == 1 else "lie"
    text = (
        f"{rows} that may belong to {names} arrived in the period unreadable and {verb} in logs.dead_letters."
    )
    return [Doubt("dead_letters", text)]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
