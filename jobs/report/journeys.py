"""The sections on how people get to a purchase: paths and funnel."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from jobs.report import charts
from jobs.report.model import Cell, Chart, Grid, Section, grid
from jobs.report.sankey import layout
from jobs.report.wording import count, duration, label, money, percent, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.report.runs import Row, RunFolder

TOP_PATHS = 20
_SEPARATOR = " > "
_COLUMNS, _NAMES, _HEIGHT = 3, 7, 360
_EARLIER, _OTHER = "(earlier steps)", "(other)"


def paths(run: RunFolder, rows: list[Row]) -> Section:
    """Where the entities of the top paths come from and how they flow to their end."""
    journeys = "touches" in (run.manifest.get("inputs") or {})
    noun, end = ("conversion", "Conversion") if journeys else ("session", "End")
    if run.param("entity") == "user" and not journeys:
        noun = "user"
    total = _total(rows)
    first = rows[0]
    finding = (
        f"The most common of {count(sum(row.get('n', 1) for row in rows))} paths, “{_spell(first['path'])}”,"
        f" makes {percent(first['share'])} of all {noun}s"
    )
    explanation = (
        f"Each {noun} is one path of steps, oldest first. The chart reads from left to right and ends at the"
        f" {end.lower()}; a band's thickness is the number of {noun}s."
    )
    chart = _flow(rows[:TOP_PATHS], noun, end, total)
    return Section(
        "Conversion paths" if journeys else "Paths",
        finding,
        explanation,
        run,
        (chart,),
        (("Top paths", _table(run, rows, noun, journeys=journeys)),),
    )


def _table(run: RunFolder, rows: Sequence[Row], noun: str, *, journeys: bool) -> Grid:
    """The paths; of conversion paths every entity is a conversion, so that column says nothing there."""
    converted = () if journeys else ("Conversions",)
    found = grid(
        ("Path", f"{noun.capitalize()}s", "Share", *converted, run.amount("Value"), "Median time"),
        [
            (
                _spell(row["path"]),
                count(row["entities"]),
                Cell(percent(row["share"]), bar=row["share"]),
                *(count(row["conversions"]) for _ in converted),
                money(row["value_minor"]),
                duration(row["p50_duration_s"]),
            )
            for row in rows
        ],
        numeric=(1, *range(3, 5 + len(converted))),
    )
    return replace(found, left_out=max(0, sum(row.get("n", 1) for row in rows) - len(found.rows)))


def _total(rows: Sequence[Row]) -> float:
    """All entities, those of paths below `min_count` included: a row's share tells."""
    for row in rows:
        if row["share"]:
            return float(round(row["entities"] / row["share"]))
    return float(sum(row["entities"] for row in rows))


def _spell(path: str) -> str:
    return " → ".join(label(step) for step in path.split(_SEPARATOR))


def _flow(rows: Sequence[Row], noun: str, end: str, total: float) -> Chart:
    weights = [
        ([label(step) for step in row["path"].split(_SEPARATOR)], float(row["entities"])) for row in rows
    ]
    shown = _main_names(weights)
    flows = [(_fold(steps, shown, end), weight) for steps, weight in weights]
    drawn = layout(flows, width=charts.WIDTH - 150, height=_HEIGHT)
    slim = layout(flows, width=charts.NARROW - 84, height=_HEIGHT, node_width=8)
    heads = [_ordinal(drawn.layers - 2 - at) for at in range(drawn.layers - 1)] + [""]
    short = [
        head.replace("Second to last", "2nd last").replace("Third to last", "3rd last") for head in heads
    ]
    covered = sum(weight for _, weight in weights)
    flowing: dict[tuple[str, str, int], float] = {}
    for link in drawn.links:
        flowing[link.source[1], link.target[1], link.source[0]] = link.value
    listed = sorted(flowing.items(), key=lambda item: (item[0][2], -item[1], item[0]))
    last = max((link for link in drawn.links if link.target[1] == end), key=lambda link: link.value)
    return Chart(
        f"“{last.source[1]}” is the last step before the {end.lower()} most often:"
        f" {percent(last.value / covered)} of those drawn",
        f"Sankey diagram of the {count(len(rows))} most common paths,"
        f" {percent(covered / total if total else None)} of all {count(total)} {noun}s."
        f" The most common last step is {last.source[1]}, with {count(last.value)} {noun}s.",
        charts.sankey(drawn, heads, _HEIGHT),
        grid(
            ("Column", "From", "To", f"{noun.capitalize()}s"),
            [(heads[at], source, target, count(value)) for (source, target, at), value in listed],
            numeric=(3,),
        ),
        charts.sankey(slim, short, _HEIGHT, width=charts.NARROW, letters=_letters(slim.layers)),
    )


def _letters(layers: int) -> int:
    """How long a name may be between two columns of the narrow drawing, its number beside it."""
    between = (charts.NARROW - 84) / max(layers - 1, 1)
    return min(20, max(5, int(between / 6.5) - 6))


def _main_names(weights: Sequence[tuple[Sequence[str], float]]) -> frozenset[str]:
    totals: dict[str, float] = {}
    for steps, weight in weights:
        for step in steps:
            totals[step] = totals.get(step, 0.0) + weight
    return frozenset(sorted(totals, key=lambda name: (-totals[name], name))[:_NAMES])


def _fold(steps: Sequence[str], shown: frozenset[str], end: str) -> list[str]:
    """Keep the last steps, make one of what came before them, and name rare steps alike."""
    named = [step if step in shown else _OTHER for step in steps]
    earlier = [_EARLIER] if len(named) > _COLUMNS else []
    return [*earlier, *named[-_COLUMNS:], end]


def _ordinal(before: int) -> str:
    if before >= _COLUMNS:
        return "Earlier"
    return ("Last step", "Second to last", "Third to last")[before]


def funnel(run: RunFolder, rows: list[Row]) -> Section:
    """How many reach each step, and where most are lost; the first breakdown is drawn, all are listed."""
    shown = [row for row in rows if row["breakdown"] == rows[0]["breakdown"]]
    last = shown[-1]
    finding = (
        f"{percent(last['conversion_from_start'])} of those who start reach “{label(last['step_name'])}”"
    )
    bars = [
        {
            "label": f"{row['step']}. {shorten(label(row['step_name']), 26)}",
            "value": row["entities"],
            "text": f"{count(row['entities'])}  ({percent(row['conversion_from_start'])})",
        }
        for row in shown
    ]
    table = grid(
        ("Group", "Step", "Reached", "Of the start", "Of the step before", "Median time from start"),
        [
            (
                row["breakdown"],
                f"{row['step']}. {label(row['step_name'])}",
                count(row["entities"]),
                Cell(percent(row["conversion_from_start"]), bar=row["conversion_from_start"]),
                percent(row["conversion_from_previous"]),
                duration(row["ttc_p50_s"]),
            )
            for row in rows
        ],
        numeric=(2, 4, 5),
    )
    worst = max(
        pairwise(shown),
        key=lambda pair: pair[0]["entities"] - pair[1]["entities"],
        default=None,
    )
    title = finding
    if worst is not None:
        lost = worst[0]["entities"] - worst[1]["entities"]
        before, after = (label(row["step_name"]) for row in worst)
        title = f"Most are lost between “{before}” and “{after}”: {count(lost)}"
    chart = Chart(
        title,
        f"Bars of how many reach each of {len(shown)} steps. {finding}.",
        charts.bars(bars, "how many get there"),
        table,
    )
    return Section(
        "Funnel", finding, "Steps in order; a bar is how many got at least that far.", run, (chart,)
    )
