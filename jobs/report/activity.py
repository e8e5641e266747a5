"""The sections on who is active: the flows of churn, and sessions by channel and day."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jobs.report import charts
from jobs.report.model import Cell, Chart, Section, grid
from jobs.report.wording import count, date, duration, label, money, percent, period

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.report.runs import Row, RunFolder

_PERIODS, _CHANNELS, _MILLI = 24, 7, 1_000
#: The parts of a period's bar: column, name, sign. Who left is drawn below the line.
_FLOWS = (
    ("returning", "stayed", 1),
    ("new", "new", 1),
    ("resurrected", "came back", 1),
    ("churned", "left", -1),
)


def churn(run: RunFolder, rows: list[Row]) -> Section:
    """Who stayed, who is new, who came back and who left, period by period."""
    unit = str(rows[0]["period_unit"])
    shown = rows[-_PERIODS:]
    last = next((row for row in reversed(rows) if row["mature"]), rows[-1])
    name = period(last["period_start"], unit)
    finding = (
        f"In the {unit} of {name}, {percent(last['churn_rate'])} of those active before left:"
        f" {count(last['churned'])} of {count(last['previous_active'])}"
    )
    if last["churn_rate"] is None:
        finding = f"In the {unit} of {name}, {count(last['active'])} were active, and nobody before"
    gained = last["new"] + last["resurrected"]
    title = f"{count(gained)} came new or came back, {count(last['churned'])} left"
    data = [
        {"label": _when(row, unit), "series": told, "value": sign * row[column], "order": place}
        for row in shown
        for place, (column, told, sign) in enumerate(_FLOWS)
    ]
    table = grid(
        (unit.capitalize(), "Active", "Stayed", "New", "Came back", "Left", "Churn rate"),
        [
            (
                _when(row, unit),
                count(row["active"]),
                count(row["returning"]),
                count(row["new"]),
                count(row["resurrected"]),
                count(row["churned"]),
                Cell(percent(row["churn_rate"]), bar=row["churn_rate"]),
            )
            for row in reversed(shown)
        ],
        numeric=range(1, 6),
    )
    chart = Chart(
        title,
        f"Stacked bars of {len(shown)} {unit}s: who stayed, who is new and who came back above the line, who"
        f" left below it. {finding}.",
        charts.stacks(data, [told for _, told, _ in _FLOWS], unit, "users"),
        table,
    )
    notes = [] if len(shown) == len(rows) else [f"Shown are the latest {len(shown)} of {len(rows)} {unit}s."]
    if any(not row["mature"] for row in shown):
        notes.append(f"A star marks a {unit} that is not over yet: who is missing there may still come.")
    explanation = (
        f"Active is who had at least one event or purchase in the {unit}. Those of the {unit} before either"
        " stayed or left; the others are new, or came back after a pause."
    )
    return Section("New, lost and won back", finding, explanation, run, (chart,), notes=tuple(notes))


def _when(row: Row, unit: str) -> str:
    return period(row["period_start"], unit) + ("" if row["mature"] else "*")


def sessions(run: RunFolder, rows: list[Row]) -> Section:
    """Sessions by channel with their conversion, and over the days."""
    total = sum(row["n"] for row in rows)
    channels = _added(rows, "channel")
    order = sorted(channels, key=lambda name: (-channels[name]["n"], name))
    converted = sum(row["converted"] for row in rows)
    first = order[0]
    finding = (
        f"{count(total)} sessions, of which {percent(converted / total)} converted;"
        f" most begin with {label(first)} ({percent(channels[first]['n'] / total)})"
    )
    bars = [
        {
            "label": label(name),
            "value": channels[name]["n"],
            "text": f"{count(channels[name]['n'])}  ({percent(_rate(channels[name]))} convert)",
        }
        for name in order[: _CHANNELS * 2]
    ]
    table = grid(
        ("Channel", "Sessions", "Share", "Converted", run.amount("Value"), "Events", "Mean time"),
        [
            (
                label(name),
                count(one["n"]),
                Cell(percent(one["n"] / total), bar=one["n"] / total),
                percent(_rate(one)),
                money(one["value_minor"]),
                count(round(one["events"] / one["n"], 1)),
                duration(one["duration_s"] / one["n"]),
            )
            for name, one in ((name, channels[name]) for name in order)
        ],
        numeric=(1, 3, 4, 5, 6),
    )
    by_channel = Chart(
        finding,
        f"Bars of the sessions of {len(bars)} channels. {finding}.",
        charts.bars(bars, "sessions"),
        table,
    )
    explanation = (
        "A session is a visit without a longer pause; its channel is the one of its first event. Events and"
        " time are means of a session."
    )
    return Section("Sessions", finding, explanation, run, (by_channel, _days(rows, order)))


def _added(rows: Sequence[Row], key: str) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for row in rows:
        sums = found.setdefault(str(row[key]), Counter())
        for name in ("n", "users", "bounced", "converted", "value_minor", "duration_s", "events"):
            sums[name] += row[name] or 0
    return found


def _rate(sums: Counter[str]) -> float | None:
    return sums["converted"] / sums["n"] if sums["n"] else None


def _days(rows: list[Row], order: Sequence[str]) -> Chart:
    shown = set(order[:_CHANNELS])
    names = [label(name) for name in order[:_CHANNELS]] + (["other"] if len(order) > _CHANNELS else [])
    cells: Counter[tuple[int, str]] = Counter()
    days: Counter[int] = Counter()
    for row in rows:
        channel = str(row["channel"])
        cells[row["day"], label(channel) if channel in shown else "other"] += row["n"]
        days[row["day"]] += row["n"]
    best = max(days, key=lambda day: (days[day], -day))
    title = f"The busiest day was {date(best)} with {count(days[best])} sessions"
    data = [
        {"at": day * _MILLI, "series": name, "value": cells[day, name]}
        for day in sorted(days)
        for name in names
    ]
    return Chart(
        title,
        f"Lines of the sessions of each UTC day by channel, {len(days)} days. {title}.",
        charts.lines(data, names, "sessions a day"),
        grid(
            ("Day", "Sessions", *names),
            [
                (date(day), count(days[day]), *(count(cells[day, name]) for name in names))
                for day in sorted(days, reverse=True)
            ],
            numeric=range(1, len(names) + 2),
        ),
    )
