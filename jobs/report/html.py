"""The report as one HTML file that loads nothing, and as a mail: a policy and inline styles, no scripts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jobs.report.story import Frame, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.report.runs import RunFolder
    from jobs.report.story import Story

#: Large mail services cut a mail's HTML off beyond 102 kB; of a long report, tables get fewer rows.
_MAIL_BYTES, _MAIL_ROWS = 98_000, (8, 5, 3, 0)
_PAGE, _MAIL, _TEXT = "report.html.j2", "mail.html.j2", "mail.txt.j2"


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
    currency = next((run.currency for run in runs if run.currency), "")
    replace_file(out, page(tell(runs, Frame(title, currency))))


def page(story: Story) -> str:
    """The report as one HTML page."""
    return _environment().get_template(_PAGE).render(story=story, frame=story.frame)


def mail(story: Story) -> tuple[str, str]:
    """The report as a mail: HTML whose pictures are parts of the mail (`cid:` and a name), and text."""
    environment = _environment()
    template = environment.get_template(_MAIL)
    for rows in _MAIL_ROWS:
        body = template.render(story=story, frame=story.frame, rows=rows)
        if len(body.encode(errors="replace")) <= _MAIL_BYTES:
            break
    plain = environment.overlay(autoescape=False).get_template(_TEXT)
    return body, plain.render(story=story, frame=story.frame)


def _environment() -> Environment:
    # PackageLoader's folder is package data; autoescape is on for every template, whatever its name.
    environment = Environment(
        loader=PackageLoader("jobs.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawn"] = Markup  # what draw_charts has checked
    return environment


def replace_file(out: Path, content: str) -> None:
    """Write a file whole, or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
