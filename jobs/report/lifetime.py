"""The sections on what customers are worth: value to come, and the profile of all of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jobs.report import charts
from jobs.report.model import Cell, Chart, Section, grid
from jobs.report.wording import DASH, count, label, money, percent

if TYPE_CHECKING:
    from jobs.report.runs import Row, RunFolder

_TENTHS = 10
_NO_SEGMENT = "(no purchase)"
_GOOD = frozenset({"ok", "given"})


def clv(run: RunFolder, rows: list[Row]) -> Section:
    """How much of the value to come lies with how few, and how many are still there."""
    notes = tuple(
        f"{label(model['model']).capitalize()}: {label(model['status'])}. {model['message']}.".replace(
            "..", "."
        )
        for model in run.rows("clv_models") or ()
        if model["status"] not in _GOOD
    )
    found = [chart for chart in (_worth(run, rows), _alive(rows)) if chart is not None]
    total = sum(row["n"] for row in rows)
    finding = (
        found[0].title if found else f"Nothing can be said yet about the future of {count(total)} customers"
    )
    explanation = (
        "A model of how often customers buy, and for how much, is fitted to all of them and predicts each."
        " The chance to be active counts how likely a customer still is one."
    )
    return Section("Customer lifetime value", finding, explanation, run, tuple(found), notes=notes)


def _worth(run: RunFolder, rows: list[Row]) -> Chart | None:
    worth = dict.fromkeys(range(1, _TENTHS + 1), 0.0)
    sizes: Counter[int] = Counter()
    for row in rows:
        if row["tenth"] is not None:
            worth[row["tenth"]] += row["clv_minor"] or 0.0
            sizes[row["tenth"]] += row["n"]
    total = sum(worth.values())
    if not total:
        return None
    horizon = f"{count(run.param('horizon'))} periods of {rows[0]['unit']}" if run.param("horizon") else ""
    title = f"The best tenth of the customers holds {percent(worth[1] / total)} of the value to come"
    names = {tenth: _ordinal(tenth) for tenth in range(1, _TENTHS + 1)}
    bars = [
        {"label": names[tenth], "value": worth[tenth] / 100, "text": percent(worth[tenth] / total)}
        for tenth in names
    ]
    return Chart(
        title,
        f"Bars of the value to come of each tenth of the customers, the best first. {title}.",
        charts.columns(bars, "tenth of the customers", run.amount("value to come")),
        grid(
            ("Tenth", "Customers", run.amount("Value to come"), "Share", run.amount("Each")),
            [
                (
                    names[tenth],
                    count(sizes[tenth]),
                    money(worth[tenth]),
                    Cell(percent(worth[tenth] / total), bar=worth[tenth] / total),
                    money(worth[tenth] / sizes[tenth] if sizes[tenth] else None),
                )
                for tenth in names
            ]
            + [
                (
                    "all" + (f", {horizon}" if horizon else ""),
                    count(sum(sizes.values())),
                    money(total),
                    "",
                    "",
                )
            ],
            numeric=(1, 2, 4),
        ),
    )


def _ordinal(tenth: int) -> str:
    return "best" if tenth == 1 else f"{tenth}."


def _alive(rows: list[Row]) -> Chart | None:
    steps: Counter[int] = Counter()
    for row in rows:
        if row["step"] is not None:
            steps[row["step"]] += row["n"]
    total = sum(steps.values())
    if not total:
        return None
    names = {step: f"{step * 10}-{step * 10 + 10} %" for step in range(_TENTHS)}
    expected = sum(row["p_alive"] or 0.0 for row in rows)
    title = f"About {count(round(expected))} of {count(total)} customers are still active"
    return Chart(
        title,
        f"Histogram of the customers by their chance to be active. {title}.",
        charts.columns(
            [
                {"label": names[step], "value": steps[step], "text": percent(steps[step] / total)}
                for step in names
            ],
            "chance to be active",
            "customers",
        ),
        grid(
            ("Chance to be active", "Customers", "Share"),
            [
                (
                    names[step],
                    count(steps[step]),
                    Cell(percent(steps[step] / total), bar=steps[step] / total),
                )
                for step in names
            ],
            numeric=(1,),
        ),
    )


def profile(run: RunFolder, rows: list[Row]) -> Section:
    """All customers by segment, and by the channel that they came from."""
    total = sum(row["n"] for row in rows)
    buyers = sum(row["buyers"] for row in rows)
    finding = f"{count(total)} customers are known, {percent(buyers / total)} of them ever bought"
    explanation = (
        "One row for each customer, from events and transactions: here added up by segment and by the channel"
        " of the first session; profile.parquet has every customer."
    )
    segments = _sides(run, rows, "segment", _NO_SEGMENT, "Segment")
    channels = _sides(run, rows, "first_channel", "(unknown)", "First channel")
    return Section("Customer profile", finding, explanation, run, (segments, channels))


def _sides(run: RunFolder, rows: list[Row], key: str, missing: str, heading: str) -> Chart:
    sums: dict[str, Counter[str]] = {}
    for row in rows:
        name = missing if row[key] is None else label(row[key])
        one = sums.setdefault(name, Counter())
        for column in ("n", "buyers", "orders", "sessions", "net_minor", "clv_12m_minor"):
            one[column] += row[column] or 0
    net = sum(one["net_minor"] for one in sums.values())
    order = sorted(sums, key=lambda name: (-sums[name]["net_minor"], -sums[name]["n"], name))
    best = order[0]
    part = sums[best]["net_minor"] / net if net > 0 else None
    title = f"{heading} “{best}” brings {percent(part)} of the money"
    if part is None:
        title = f"“{best}” is the largest, with {count(sums[best]['n'])} customers"
    bars = [
        {
            "label": name,
            "value": sums[name]["n"],
            "text": f"{count(sums[name]['n'])}  ({money(sums[name]['net_minor'])})",
        }
        for name in order[:15]
    ]
    return Chart(
        title,
        f"Bars of the customers by {heading.lower()}, with the money that they brought. {title}.",
        charts.bars(bars, "customers (money, net)"),
        grid(
            (
                heading,
                "Customers",
                "Bought",
                "Orders",
                run.amount("Money, net"),
                run.amount("12 months to come"),
            ),
            [
                (
                    name,
                    count(one["n"]),
                    count(one["buyers"]),
                    count(one["orders"]),
                    money(one["net_minor"]),
                    money(one["clv_12m_minor"]) if one["clv_12m_minor"] else DASH,
                )
                for name, one in ((name, sums[name]) for name in order)
            ],
            numeric=range(1, 6),
        ),
    )
