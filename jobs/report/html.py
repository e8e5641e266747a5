"""The report as one HTML file that loads nothing: styles and drawings are inline, a policy forbids more."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jobs.report.drawing import draw
from jobs.report.sections import build, provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobs.report.runs import RunFolder

_TEMPLATE = "report.html.j2"


def render_html(runs: Sequence[RunFolder], title: str, out: Path) -> None:
    """Write the report of these runs.

    Args:
        runs: finished runs; their sections come in the report's own order.
        title: the page's title, plain text.
        out: the file to write; it is replaced whole or not at all.

    Raises:
        InputError: an output cannot be read.
        JobsError: the charts could not be drawn.
    """
    report = build(runs)
    charts = [chart for section in report.sections for chart in section.charts]
    drawings: Iterator[Markup] = iter([Markup(svg) for svg in draw([chart.spec for chart in charts])])  # noqa: S704 - checked by draw
    # PackageLoader's folder is package data; autoescape is on for every template, whatever its name.
    environment = Environment(
        loader=PackageLoader("jobs.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(_TEMPLATE).render(
        title=title,
        currency=next((run.currency for run in runs if run.currency), ""),
        sections=[
            (section, [(chart, next(drawings)) for chart in section.charts], provenance(section.run))
            for section in report.sections
        ],
        notes=report.notes,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    _replace(out, page)


def _replace(out: Path, page: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(page)
        Path(name).chmod(0o644)
        Path(name).replace(out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
