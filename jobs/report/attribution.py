"""The section on attribution: which channel earns the credit, under every model side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.report import charts
from jobs.report.model import Cell, Chart, Grid, Section, grid
from jobs.report.wording import count, label, money, percent

if TYPE_CHECKING:
    from jobs.report.runs import Row, RunFolder

_CHARTED = 10
_EXPLANATION = (
    "A purchase is often preceded by several visits from different channels. Each model shares the credit"
    " in its own way: first and last give all to one visit, linear gives every visit the same."
)


def attribution(run: RunFolder, rows: list[Row]) -> Section:
    """Shares of the conversions as a chart, and money by channel and model as a table."""
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    names = {str(row["channel"]) for row in rows}
    shares = {name: dict.fromkeys(models, 0.0) for name in names}
    for row in rows:
        shares[row["channel"]][row["model"]] = row["share"] or 0.0
    channels = sorted(names, key=lambda name: (-max(shares[name].values()), name))
    finding = _leaders({model: max(channels, key=_by(shares, model)) for model in models})
    chart = _chart(channels, models, shares, finding)
    table = _money(channels, models, shares, rows)
    caption = f"{run.amount('Credited value')}, by channel and model"
    return Section("Attribution", finding, _EXPLANATION, run, (chart,), ((caption, table),))


def _by(shares: dict[str, dict[str, float]], model: str) -> charts.Key:
    return lambda name: shares[name][model]


def _leaders(leaders: dict[str, str]) -> str:
    names = sorted(set(leaders.values()))
    if len(names) == 1:
        return f"{label(names[0]).capitalize()} earns the most conversions under every model"
    parts = [
        f"{label(name)} under {', '.join(label(m) for m, winner in leaders.items() if winner == name)}"
        for name in names
    ]
    return f"The leading channel depends on the model: {'; '.join(parts)}"


def _chart(
    channels: list[str], models: list[str], shares: dict[str, dict[str, float]], finding: str
) -> Chart:
    spread = {name: max(shares[name].values()) - min(shares[name].values()) for name in channels}
    swinging = max(channels, key=lambda name: spread[name])
    low, high = min(shares[swinging].values()), max(shares[swinging].values())
    title = f"The choice of model matters most for {label(swinging)}: {percent(low)} to {percent(high)}"
    bars = [
        {"label": label(name), "series": label(model), "value": shares[name][model]}
        for name in channels[:_CHARTED]
        for model in models
    ]
    return Chart(
        f"{title} of the conversions",
        f"Bars of each channel's share of the conversions under {count(len(models))} models. {finding}.",
        charts.grouped_bars(bars, [label(model) for model in models], "share of conversions"),
        grid(
            ("Share of conversions", *(label(model) for model in models)),
            [(label(name), *(percent(shares[name][model]) for model in models)) for name in channels],
            numeric=range(1, len(models) + 1),
        ),
    )


def _money(
    channels: list[str], models: list[str], shares: dict[str, dict[str, float]], rows: list[Row]
) -> Grid:
    values = {(row["channel"], row["model"]): row["value_minor"] for row in rows}
    touches = {row["channel"]: row["touches"] for row in rows}
    leading = models[-1]
    return grid(
        (
            "Channel",
            "Touches",
            f"Conversions, {label(leading)}",
            *(label(model) for model in models),
        ),
        [
            (
                label(name),
                count(touches[name]),
                Cell(percent(shares[name][leading]), bar=shares[name][leading]),
                *(money(values.get((name, model))) for model in models),
            )
            for name in channels
        ],
        numeric=(1, *range(3, 3 + len(models))),
    )
