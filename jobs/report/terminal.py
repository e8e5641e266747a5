"""The report in the terminal: findings, and tables with bars; plain text where the output is piped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from jobs.report.sections import build, provenance
from jobs.report.wording import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from jobs.report.model import Cell, Grid
    from jobs.report.runs import RunFolder

_BAR = 12
_ROWS = 12
_CELL = 60
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_TONES = {"up": "green", "down": "red", "new": "cyan", "dropped": "dim"}


def render_terminal(runs: Sequence[RunFolder], console: Console) -> None:
    """Print the report of these runs.

    Raises:
        InputError: an output cannot be read.
    """
    report = build(runs)
    for section in report.sections:
        console.print()
        console.print(Text(clean(section.heading), style="bold underline"))
        console.print(Text(clean(section.finding), style="bold"))
        for note in section.notes:
            console.print(Text(clean(note), style="dim"))
        grids = section.tables or tuple((chart.title, chart.data) for chart in section.charts)
        for caption, grid in grids:
            if caption != section.finding:
                console.print(Text(clean(caption), style="italic"))
            console.print(_table(grid))
        console.print(
            Text(clean("; ".join(f"{name}: {value}" for name, value in provenance(section.run))), style="dim")
        )
    for note in report.notes:
        console.print(Text(clean(note), style="dim"))


def bar(fraction: float, width: int = _BAR) -> str:
    """A bar of block characters, exact to an eighth of a character."""
    eighths = round(max(0.0, min(fraction, 1.0)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def _table(grid: Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, heading in enumerate(grid.headings):
        right = index in grid.numeric
        table.add_column(
            clean(heading), justify="right" if right else "left", overflow="ellipsis", no_wrap=True
        )
    for row in grid.rows[:_ROWS]:
        table.add_row(*(_cell(cell) for cell in row))
    left_out = grid.left_out + max(0, len(grid.rows) - _ROWS)
    if left_out:
        table.add_row(Text(f"… {left_out:,} more", style="dim"))
    return table


def _cell(cell: Cell) -> Text:
    text = clean(cell.text)
    text = text if len(text) <= _CELL else text[: _CELL - 1] + "…"
    drawn = Text(text if cell.bar is None else f"{bar(cell.bar)} {text:>6}")
    drawn.stylize(_TONES.get(cell.tone or "", ""))
    return drawn
