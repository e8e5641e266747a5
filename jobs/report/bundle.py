"""A report in every form that a delivery needs, from one description: page, mail, pictures, and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.contracts.errors import InputError
from jobs.report.html import mail, page, replace_file
from jobs.report.runs import RunFolder
from jobs.report.story import Frame, tell

if TYPE_CHECKING:
    from jobs.report.model import Grid
    from jobs.report.story import Story, Told

PAGE, MAIL, TEXT, FACTS = "report.html", "mail.html", "mail.txt", "report.json"
#: Pictures are called `chart-` and their name.
PICTURE = "chart-{}.png"


def write_bundle(description: Path, out: Path) -> None:
    """Write the report that a JSON file describes into a folder.

    The file holds `runs`, a list of `{folder, title}` whose folders' names are the sections' keys, and the
    fields of `Frame`.

    Raises:
        InputError: the description, or an output, cannot be read.
        JobsError: the charts could not be drawn.
    """
    try:
        asked: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
        frame = Frame(**{**asked["frame"], "missing": tuple(asked["frame"].get("missing", ()))})
        folders = [(Path(run["folder"]), str(run.get("title", ""))) for run in asked["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{description} describes no report ({error}); give runs and a frame") from error
    runs = [RunFolder.open(folder, frame.currency, title) for folder, title in folders]
    write_story(tell(runs, frame, as_given=True, pictures=True), out)


def write_story(story: Story, out: Path) -> None:
    """Write all forms; the JSON comes last, so that a folder with one is whole."""
    out.mkdir(parents=True, exist_ok=True)
    for told in story.sections:
        for plate in told.plates:
            (out / PICTURE.format(plate.name)).write_bytes(plate.drawing.png)
    body, text = mail(story)
    replace_file(out / PAGE, page(story))
    replace_file(out / MAIL, body)
    replace_file(out / TEXT, text)
    replace_file(out / FACTS, json.dumps(facts(story), ensure_ascii=False, indent=1) + "\n")


def facts(story: Story) -> dict[str, Any]:
    """What the report says, for programs."""
    frame = story.frame
    return {
        "title": frame.title,
        "window": frame.window,
        "made": frame.made,
        "currency": frame.currency,
        "incomplete": list(frame.missing),
        "compared_with": frame.since or None,
        "notes": list(story.notes),
        "sections": [_section(told) for told in story.sections],
    }


def _section(told: Told) -> dict[str, Any]:
    section = told.section
    return {
        "key": told.key,
        "analysis": section.run.analysis,
        "heading": section.heading,
        "finding": section.finding,
        "figures": [figure.to_json() for figure in section.figures],
        "changes": [
            change.to_json()
            for change in told.changes
            if change.previous is not None or change.status == "new"
        ],
        "charts": [
            {
                "name": plate.name,
                "title": plate.chart.title,
                "summary": plate.chart.summary,
                "data": _grid(plate.chart.data),
            }
            for plate in told.plates
        ],
        "origin": dict(told.origin),
    }


def _grid(found: Grid) -> dict[str, Any]:
    return {
        "headings": list(found.headings),
        "rows": [[cell.text for cell in row] for row in found.rows],
        "left_out": found.left_out,
    }
