"""The sections on customers: how often they buy, who the best are, and how many come back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jobs.report import charts
from jobs.report.model import Cell, Chart, Section, grid
from jobs.report.wording import count, label, money, percent, period, plural

if TYPE_CHECKING:
    from jobs.report.runs import Row, RunFolder

_MOST_PURCHASES = 8
_AGES, _COHORTS = 13, 30
_NARROW_AGES, _NARROW_COHORTS = 7, 14
#: How to read a row, by the mode of retention.
_HOW = {
    "day_n": "Read along it: what part of them was there again 1, 2, 3 {unit}s later.",
    "unbounded": "Read along it: what part of them was there 1, 2, 3 {unit}s later, or ever after that.",
    "bracket": "Read along it: what part of them was there at least once within these {unit}s.",
    "rolling": "Read along it: what part of them was there again 1, 2, 3 times 24 hours later.",
}


def summary(run: RunFolder, rows: list[Row]) -> Section:
    """A histogram of purchases per customer."""
    total = sum(row["n"] for row in rows)
    buckets: Counter[int] = Counter()
    spent: Counter[int] = Counter()
    for row in rows:
        purchases = min(int(row["frequency"]) + 1, _MOST_PURCHASES)
        buckets[purchases] += row["n"]
        spent[purchases] += row["monetary_minor"] if row["frequency"] else 0
    unit = label(rows[0]["unit"])
    names = {
        number: f"{number}+" if number == _MOST_PURCHASES else str(number)
        for number in range(1, _MOST_PURCHASES + 1)
    }
    once = buckets[1] / total
    finding = (
        f"{percent(once)} of the {count(total)} customers bought only once; {percent(1 - once)} came back"
    )
    bars = [{"label": names[n], "value": buckets[n], "text": percent(buckets[n] / total)} for n in names]
    table = grid(
        ("Purchases", "Customers", "Share", run.amount("Mean repeat purchase")),
        [
            (
                names[n],
                count(buckets[n]),
                Cell(percent(buckets[n] / total), bar=buckets[n] / total),
                money(spent[n] / buckets[n] if n > 1 and buckets[n] else None),
            )
            for n in names
        ],
        numeric=(1, 3),
    )
    chart = Chart(
        finding,
        f"Histogram of customers by their number of purchases. {finding}.",
        charts.columns(bars, "number of purchases", "customers"),
        table,
    )
    explanation = (
        f"Purchases on the same {unit} count as one. The mean repeat purchase leaves the first one out."
    )
    return Section("Purchases per customer", finding, explanation, run, (chart,))


def rfm(run: RunFolder, rows: list[Row]) -> Section:
    """Named segments by money, and the grid of recency and frequency scores."""
    total, money_total = sum(row["n"] for row in rows), sum(row["monetary_minor"] for row in rows)
    sizes: Counter[str] = Counter()
    worth: Counter[str] = Counter()
    for row in rows:
        sizes[row["segment"]] += row["n"]
        worth[row["segment"]] += row["monetary_minor"]
    order = sorted(sizes, key=lambda name: (-worth[name], name))
    best = order[0]
    parts = {name: worth[name] / money_total if money_total > 0 else None for name in order}
    part = parts[best]
    finding = (
        f"“{label(best)}” are {percent(sizes[best] / total)} of the customers"
        f" and bring {percent(part)} of the money"
    )
    bars = [
        {
            "label": label(name),
            "value": max(worth[name], 0) / 100,
            "text": f"{money(worth[name])}  ({percent(parts[name])})",
        }
        for name in order
    ]
    table = grid(
        (
            "Segment",
            "Customers",
            "Share of customers",
            run.amount("Money"),
            "Share of money",
            run.amount("Money per customer"),
        ),
        [
            (
                label(name),
                count(sizes[name]),
                Cell(percent(sizes[name] / total), bar=sizes[name] / total),
                money(worth[name]),
                Cell(percent(parts[name]), bar=parts[name]),
                money(worth[name] / sizes[name]),
            )
            for name in order
        ],
        numeric=(1, 3, 5),
    )
    chart = Chart(
        finding,
        f"Bars of the money of each segment. {finding}.",
        charts.bars(bars, run.amount("money, net")),
        table,
    )
    explanation = (
        "Every customer has three scores, the highest is best: recency (how lately they bought), frequency"
        " (on how many days) and money (how much in all). Segments are named areas of recency and frequency."
    )
    return Section("Customer segments (RFM)", finding, explanation, run, (chart, _score_grid(rows)))


def _score_grid(rows: list[Row]) -> Chart:
    cells: Counter[tuple[int, int]] = Counter()
    for row in rows:
        cells[row["r"], row["f"]] += row["n"]
    scores = range(1, max(max(pair) for pair in cells) + 1)
    peak = max(cells.values())
    top = scores[-1]
    corner, lapsed = cells[top, top], cells[1, 1]
    title = (
        f"{count(corner)} customers score best on both recency and frequency;"
        f" {count(lapsed)} score lowest on both"
    )
    data = [
        {"x": str(f), "y": str(r), "value": cells[r, f] / peak, "text": count(cells[r, f])}
        for r in reversed(scores)
        for f in scores
    ]
    table = grid(
        ("Recency score", *(f"Frequency {f}" for f in scores)),
        [(str(r), *(count(cells[r, f]) for f in scores)) for r in reversed(scores)],
        numeric=range(1, len(scores) + 1),
    )
    return Chart(
        title,
        f"Grid of customers by recency and frequency score. {title}.",
        charts.heat(
            data, f"frequency score ({top} = most often)", f"recency score ({top} = latest)", step=36
        ),
        table,
    )


def retention(run: RunFolder, rows: list[Row]) -> Section:
    """The cohort heat map: how many of those who started in a period came back later."""
    shown = [row for row in rows if row["breakdown"] == rows[0]["breakdown"]]
    unit = str(shown[0]["period_unit"])
    cohorts = sorted({row["cohort_start"] for row in shown})
    ages = sorted({row["age"] for row in shown})
    cells = {(row["cohort_start"], row["age"]): row for row in shown}
    sizes = {row["cohort_start"]: row["cohort_size"] for row in shown}
    mode = str(shown[0]["mode"])
    finding = _pooled(run, shown, unit, mode)
    ages_told = _age_names(run, ages, mode)
    kept, lasting = cohorts[-_COHORTS:], ages[:_AGES]
    top = max((row["rate"] or 0.0 for row in shown if row["age"] > 0), default=0.0)
    names = {cohort: f"{period(cohort, unit)}  ({count(sizes[cohort])})" for cohort in kept}
    data = [
        {
            "x": ages_told[age],
            "y": names[cohort],
            "value": _ink(cells[cohort, age], top),
            "text": _cell(cells[cohort, age]),
        }
        for cohort in kept
        for age in lasting
        if (cohort, age) in cells
    ]
    narrow_ages = {ages_told[age] for age in lasting[:_NARROW_AGES]}
    narrow_cohorts = {names[cohort] for cohort in kept[-_NARROW_COHORTS:]}
    table = grid(
        (f"First {unit}", "Size", *(ages_told[age] if mode == "bracket" else f"+{age}" for age in lasting)),
        [
            (
                period(cohort, unit),
                count(sizes[cohort]),
                *(_cell(cells.get((cohort, age))) for age in lasting),
            )
            for cohort in kept
        ],
        numeric=range(1, len(lasting) + 2),
    )
    notes = []
    if len(cohorts) > len(kept) or len(ages) > len(lasting):
        notes.append(
            f"Shown are the latest {len(kept)} of {len(cohorts)} cohorts"
            f" and the first {len(lasting)} of {len(ages)} ages; retention.parquet has all."
        )
    if any(not row["mature"] for row in shown):
        notes.append("A star marks a cell whose period is not over yet: it may still grow.")
    chart = Chart(
        finding,
        f"Heat map of {len(kept)} cohorts, one row each, by {unit}s since the start. {finding}.",
        charts.heat(data, f"{unit}s since the first purchase or visit", f"first {unit} (size)"),
        table,
        charts.heat(
            [one for one in data if one["x"] in narrow_ages and one["y"] in narrow_cohorts],
            f"{unit}s since the start",
            f"first {unit} (size)",
            width=charts.NARROW - 110,
        ),
    )
    explanation = (
        f"A row holds those who started in the same {unit}. {_HOW[mode].format(unit=unit)}"
        " A cell that is missing has not happened yet."
    )
    return Section("Retention by cohort", finding, explanation, run, (chart,), notes=tuple(notes))


def _ink(row: Row, top: float) -> float:
    """Darkness of a cell. The column of age 0 is 100 % by definition and would wash out all others."""
    return 1.0 if row["age"] == 0 else min((row["rate"] or 0.0) / top, 1.0) if top else 0.0


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{(row['rate'] or 0.0) * 100:.0f}%{'' if row['mature'] else '*'}"


def _age_names(run: RunFolder, ages: list[int], mode: str) -> dict[int, str]:
    """How an age is written: its number, or a bracket's both ends."""
    if mode != "bracket":
        return {age: str(age) for age in ages}
    ends = {int(low): int(high) for low, high in run.param("brackets") or ()}
    return {age: str(age) if ends.get(age, age) == age else f"{age}-{ends[age]}" for age in ages}


def _pooled(run: RunFolder, rows: list[Row], unit: str, mode: str) -> str:
    """What part is back after one and after three periods: over mature cells, weighted by their size."""
    parts = []
    told = _age_names(run, sorted({row["age"] for row in rows}), mode)
    for age in [age for age in told if age][:2] if mode == "bracket" else (1, 3):
        mature = [row for row in rows if row["age"] == age and row["mature"]]
        size = sum(row["cohort_size"] for row in mature)
        if size:
            when = f"in {unit}s {told[age]}" if mode == "bracket" else f"after {plural(age, unit)}"
            when += " or later" if mode == "unbounded" else ""
            parts.append(f"{percent(sum(row['users'] for row in mature) / size)} {when}")
    return (
        f"Of those who start, {' and '.join(parts)} are back"
        if parts
        else "No cohort is old enough yet to tell who comes back"
    )
