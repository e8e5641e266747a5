"""The section on rankings: who leads, who moved, who is new and who is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.report import charts
from jobs.report.model import Cell, Chart, Grid, Section, grid
from jobs.report.wording import DASH, count, label, percent, period, shorten

if TYPE_CHECKING:
    from jobs.report.runs import Row, RunFolder

_BARS = 15
_SEGMENTS = 3


def ranking(run: RunFolder, rows: list[Row]) -> Section:
    """The latest period of each segment: share bars, and a table with movement."""
    latest = max(row["period_start"] for row in rows)
    current = [row for row in rows if row["period_start"] == latest]
    segments = list(dict.fromkeys(row["segment"] for row in current))
    charted = [
        _segment(run, segment, [row for row in current if row["segment"] == segment]) for segment in segments
    ]
    notes = []
    if len(segments) > _SEGMENTS:
        notes.append(
            f"Only the first {_SEGMENTS} of {len(segments)} segments are shown; ranking.parquet has all."
        )
    unit = run.param("period")
    when = f"{unit} of {period(latest, unit)}" if unit else "whole period"
    periods = len({row["period_start"] for row in rows})
    explanation = "Items by their total over the whole period."
    if unit:
        explanation = (
            f"Shown is the {when}, the latest of {periods}."
            f" ▲ and ▼ count the places won or lost since the {unit} before."
        )
    return Section(
        "Ranking",
        charted[0][0].title,
        explanation,
        run,
        tuple(chart for chart, _ in charted[:_SEGMENTS]),
        tuple(
            (_caption(segment, when), table)
            for segment, (_, table) in zip(segments[:_SEGMENTS], charted, strict=False)
        ),
        tuple(notes),
    )


def _caption(segment: str, when: str) -> str:
    return f"Ranking, {when}" if segment == "(all)" else f"Ranking of {segment}, {when}"


def _segment(run: RunFolder, segment: str, rows: list[Row]) -> tuple[Chart, Grid]:
    ranked = [row for row in rows if row["rank"] is not None]
    top = max((row["share"] or 0.0 for row in rows), default=0.0)
    table = grid(
        ("Rank", "Move", "Item", label(run.param("metric", "metric")).capitalize(), "Share", "Before"),
        [
            (
                count(row["rank"]),
                _movement(row),
                row["item"],
                count(row["metric"]),
                Cell(percent(row["share"]), bar=(row["share"] or 0.0) / top if top else None),
                count(row["previous_metric"]),
            )
            for row in rows
        ],
        numeric=(0, 3, 5),
    )
    bars = [
        {"label": f"{row['rank']}. {shorten(row['item'], 28)}", "value": row["metric"], "text": _amount(row)}
        for row in ranked[:_BARS]
    ]
    finding = _finding(ranked, rows)
    within = "" if segment == "(all)" else f" in {segment}"
    summary = (
        f"Bars of the first {len(bars)} items{within} by {label(run.param('metric', 'metric'))}. {finding}."
    )
    return Chart(
        finding + within, summary, charts.bars(bars, label(run.param("metric", "metric"))), table
    ), table


def _finding(ranked: list[Row], rows: list[Row]) -> str:
    if not ranked:
        return "No item is ranked in the latest period"
    leaders = [row for row in ranked if row["rank"] == ranked[0]["rank"]]
    names = " and ".join(f"“{shorten(row['item'], 40)}”" for row in leaders[:2])
    more = f" and {len(leaders) - 2} more" if len(leaders) > 2 else ""  # noqa: PLR2004 - two are named
    verb = "leads" if len(leaders) == 1 else "lead, each"
    text = f"{names}{more} {verb} with {percent(leaders[0]['share'])} of the total"
    climber = max(
        (row for row in rows if row["status"] == "up"), key=lambda row: row["movement"], default=None
    )
    if climber is not None and climber["movement"] > 0 and len(leaders) == 1:
        places = f"{climber['movement']} place{'s' if climber['movement'] > 1 else ''}"
        same = climber["item"] == leaders[0]["item"]
        text += f", up {places}" if same else f"; “{shorten(climber['item'], 40)}” climbs most, up {places}"
    return text


def _movement(row: Row) -> Cell:
    status, moved = row["status"], row["movement"]
    if status == "up":
        return Cell(f"▲ {moved}", tone="up")
    if status == "down":
        return Cell(f"▼ {abs(moved or 0)}", tone="down")
    if status in {"new", "dropped"}:
        return Cell("new" if status == "new" else "✕ dropped", tone=status)
    return Cell("=" if status == "same" else DASH)


def _amount(row: Row) -> str:
    return f"{count(row['metric'])}  ({percent(row['share'])})"
