"""What a report is made of, before it is drawn: sections of findings, charts and tables.

Builders make these from run folders; the HTML and the terminal renderer both read them, so both say the same.
All texts are plain: each renderer escapes for its own medium.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.report.figures import Figure
    from jobs.report.runs import RunFolder

#: Rows that a table shows; the Parquet file has them all.
ROW_LIMIT = 30


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell. `bar` is a fraction 0..1 drawn beside the text; `tone` is `up`, `down`, `new` or `dropped`."""

    text: str
    bar: float | None = None
    tone: str | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: headings (those in `numeric` are set flush right), rows, and how many rows were left out."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its twins: a text summary, and the same numbers as a table.

    Attributes:
        title: the finding in one line.
        summary: what the chart shows, for somebody who cannot see it.
        spec: a Vega or Vega-Lite specification with its data inline.
        data: the data table twin.
        narrow: the same drawing for a phone and a mail; `None` where `spec` only needs less breadth.
    """

    title: str
    summary: str
    spec: dict[str, Any]
    data: Grid
    narrow: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """One output of one run.

    Attributes:
        heading: what it is about: `Ranking`.
        finding: the one sentence to take away.
        explanation: how to read what follows.
        charts: drawings, in order.
        tables: tables that are shown open, with their captions.
        notes: what is left out and why.
        run: where it comes from.
        figures: the numbers that are held against those of an earlier run.
    """

    heading: str
    finding: str
    explanation: str
    run: RunFolder
    charts: tuple[Chart, ...] = ()
    tables: tuple[tuple[str, Grid], ...] = ()
    notes: tuple[str, ...] = field(default=())
    figures: tuple[Figure, ...] = ()


def grid(headings: Sequence[str], rows: Sequence[Sequence[str | Cell]], numeric: Sequence[int] = ()) -> Grid:
    """Make a grid from texts and cells, cut at the row limit."""
    cells = tuple(
        tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows[:ROW_LIMIT]
    )
    return Grid(tuple(headings), cells, frozenset(numeric), max(0, len(rows) - ROW_LIMIT))
