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
    notes += _guarantees(run, latest)
    unit = run.param("period")
    when = f"{unit} of {period(latest, unit)}" if unit else "whole period"
    periods = rows[0].get("periods") or len({row["period_start"] for row in rows})
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


def _guarantees(run: RunFolder, latest: int) -> list[str]:
    """Of an approximate ranking: how many of its items are certainly among the first."""
    bounds = [row for row in run.rows("ranking_bounds") or () if row["period_start"] == latest]
    if not bounds:
        return []
    certain = sum(bool(row["guaranteed"]) for row in bounds)
    text = "Counted approximately: the true number lies between “at least” and “at most”."
    return [f"{text} {count(certain)} of {count(len(bounds))} listed items are certainly among the first."]


def _caption(segment: str, when: str) -> str:
    return f"Ranking, {when}" if segment == "(all)" else f"Ranking of {segment}, {when}"


def _segment(run: RunFolder, segment: str, rows: list[Row]) -> tuple[Chart, Grid]:
    ranked = [row for row in rows if row["rank"] is not None]
    top = max((row["share"] or 0.0 for row in rows), default=0.0)
    bounded = any(row.get("lower_bound") is not None for row in rows)
    bounds = ("At least", "At most") if bounded else ()
    write = _score if run.param("metric") == "score" else count
    table = grid(
        ("Rank", "Move", "Item", _metric(run).capitalize(), *bounds, "Share", "Before"),
        [
            (
                count(row["rank"]),
                _movement(row),
                row["item"],
                write(row["metric"]),
                *((count(row["lower_bound"]), count(row["upper_bound"])) if bounded else ()),
                Cell(percent(row["share"]), bar=(row["share"] or 0.0) / top if top else None),
                write(row["previous_metric"]),
            )
            for row in rows
        ],
        numeric=(0, 3, 4, 5, 7) if bounded else (0, 3, 5),
    )
    bars = [
        {
            "label": f"{row['rank']}. {shorten(row['item'], 28)}",
            "value": row["metric"],
            "text": _amount(run, row),
        }
        for row in ranked[:_BARS]
    ]
    finding = _finding(run, ranked, rows)
    within = "" if segment == "(all)" else f" in {segment}"
    summary = f"Bars of the first {len(bars)} items{within} by {_metric(run)}. {finding}."
    return Chart(finding + within, summary, charts.bars(bars, _metric(run)), table), table


def _metric(run: RunFolder) -> str:
    """What items are ranked by: `sum`, or `score (wilson low)`."""
    metric = label(run.param("metric", "metric"))
    formula = run.param("score")
    return f"{metric} ({label(formula)})" if metric == "score" and formula else metric


def _score(value: float | None) -> str:
    """A score: it has no unit, and may be far below 1."""
    return DASH if value is None else f"{value:,.4g}"


def _finding(run: RunFolder, ranked: list[Row], rows: list[Row]) -> str:
    if not ranked:
        return "No item is ranked in the latest period"
    leaders = [row for row in ranked if row["rank"] == ranked[0]["rank"]]
    names = " and ".join(f"“{shorten(row['item'], 40)}”" for row in leaders[:2])
    more = f" and {len(leaders) - 2} more" if len(leaders) > 2 else ""  # noqa: PLR2004 - two are named
    verb = "leads" if len(leaders) == 1 else "lead, each"
    text = f"{names}{more} {verb} with {percent(leaders[0]['share'])} of the total"
    if leaders[0]["share"] is None:
        text = f"{names}{more} {verb} with a {_metric(run)} of {_score(leaders[0]['metric'])}"
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


def _amount(run: RunFolder, row: Row) -> str:
    if row["share"] is None:
        return _score(row["metric"]) if run.param("metric") == "score" else count(row["metric"])
    return f"{count(row['metric'])}  ({percent(row['share'])})"
