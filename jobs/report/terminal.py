"""The report in the terminal: findings, and tables with bars; plain text where the output is piped."""

from __future__ import annotations

import textwrap
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
_GAP = 1
_LEAST_COLUMNS = 2
_HASH = 12
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
            console.print(_table(grid, console.width))
        console.print(Text(clean(_origin(section.run)), style="dim"))
    for note in report.notes:
        console.print(Text(clean(note), style="dim"))


def bar(fraction: float, width: int = _BAR) -> str:
    """A bar of block characters, exact to an eighth of a character."""
    eighths = round(max(0.0, min(fraction, 1.0)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def _origin(run: RunFolder) -> str:
    """Where a section comes from in one line; the HTML report and the manifest tell it in full."""
    facts = dict(provenance(run))
    digest = facts["result hash"][:_HASH]
    return f"{facts['analysis']} on {facts['engine']}; read {facts.get('rows read', '?')}; result {digest}"


def _table(grid: Grid, width: int) -> Table:
    """Draw a table that fits: first its headings wrap, then the bars go, then columns from the right."""
    rows = [[_cell(cell) for cell in row] for row in grid.rows[:_ROWS]]
    if _total_width(grid, rows) > width:
        rows = [[_cell(cell, drawn=False) for cell in row] for row in grid.rows[:_ROWS]]
    columns = len(grid.headings)
    while columns > _LEAST_COLUMNS and _total_width(grid, rows, columns) > width:
        columns -= 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, _GAP, 0, 0))
    for index, heading in enumerate(grid.headings[:columns]):
        right = index in grid.numeric
        table.add_column(
            _wrapped(clean(heading), _cell_width(rows, index)),
            justify="right" if right else "left",
            vertical="bottom",
            overflow="ellipsis",
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*row[:columns])
    left_out = grid.left_out + max(0, len(grid.rows) - _ROWS)
    if left_out:
        table.add_row(Text(f"… {left_out:,} more", style="dim"))
    if columns < len(grid.headings):
        missing = len(grid.headings) - columns
        table.caption = f"{missing} more column{'s' if missing > 1 else ''} in a wider terminal"
        table.caption_justify = "left"
    return table


def _wrapped(heading: str, width: int) -> str:
    """Break a heading at its spaces so that it takes no more room than what stands below it."""
    return "\n".join(textwrap.wrap(heading, max(width, 1), break_long_words=False, break_on_hyphens=False))


def _cell_width(rows: Sequence[Sequence[Text]], index: int) -> int:
    return max((row[index].cell_len for row in rows), default=0)


def _total_width(grid: Grid, rows: Sequence[Sequence[Text]], columns: int | None = None) -> int:
    widths = [
        max(_cell_width(rows, index), *(len(word) for word in heading.split()), 1)
        for index, heading in enumerate(grid.headings[:columns])
    ]
    return sum(widths) + (_GAP + 1) * (len(widths) - 1)


def _cell(cell: Cell, *, drawn: bool = True) -> Text:
    text = clean(cell.text)
    text = text if len(text) <= _CELL else text[: _CELL - 1] + "…"
    shown = Text(text if cell.bar is None or not drawn else f"{bar(cell.bar)} {text:>6}")
    shown.stylize(_TONES.get(cell.tone or "", ""))
    return shown
