"""Renders the notebooks to HTML that needs nothing: no script, no font, no request to anywhere.

    eval "$(sluice env)"
    python notebooks/render.py                     # all, to build/notebooks/*.html
    python notebooks/render.py ranking --out /tmp  # one

marimo's own export loads its viewer from a public server whenever the page is opened. Here the cells run
(`marimo.App.run`), tables become tables, charts become SVG, and the code stands beside them.
"""

from __future__ import annotations

import argparse
import ast
import html
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa

from jobs.report.drawing import draw

HERE = Path(__file__).resolve().parent
NOTEBOOKS = ("quick_start", "conversion_path", "ranking", "customer_report", "clickstream")
MAX_ROWS = 40
_CSS = HERE.parent / "jobs" / "report" / "templates" / "report.css"
_MORE_CSS = """
section { border-top: 0; margin-top: 0; padding-top: .25rem; }
section.text { margin-top: 1.25rem; }
section h2 { font-size: 1.3rem; letter-spacing: 0; color: var(--ink); margin: 1.75rem 0 .5rem; }
pre { background: var(--panel); padding: .75rem 1rem; border-radius: .5rem; overflow-x: auto; }
pre { font-size: .82rem; line-height: 1.45; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, monospace; font-size: .88em; }
li { max-width: 43rem; margin: .25rem 0; }
span.paragraph { display: block; max-width: 44rem; margin: .5rem 0; }
td:first-child:not(.n) { min-width: 7rem; }
"""
_INK = {"labelColor": "currentColor", "titleColor": "currentColor", "titleFontWeight": "normal"}
_SIZES = {"labelFontSize": 12, "titleFontSize": 12}
_GRID = {"domainOpacity": 0.4, "gridColor": "currentColor", "gridOpacity": 0.15, "tickOpacity": 0.4}
_CONFIG = {
    "axis": {
        **_INK,
        **_SIZES,
        **_GRID,
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "labelLimit": 300,
    },
    "legend": {**_INK, **_SIZES},
    "mark": {"color": "#4c78a8"},
    "rule": {"color": "currentColor"},
    "text": {"color": "currentColor"},
    "view": {"stroke": None},
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",
}
"""Text is `currentColor`, so that one drawing serves light pages, dark ones and print."""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{css}
</style>
</head>
<body>
<nav aria-label="Notebooks"><ul>{links}</ul></nav>
<main>
{cells}
</main>
</body>
</html>
"""


@dataclass(frozen=True)
class Cell:
    """A cell as the file has it: its code, and whether the page shows the code."""

    code: str
    hidden: bool


def read_cells(source: str) -> list[Cell]:
    """Return the cells of a marimo file in their order."""
    lines = source.splitlines()
    cells = []
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.FunctionDef) and node.decorator_list):
            continue
        decorator = node.decorator_list[0]
        options = decorator.keywords if isinstance(decorator, ast.Call) else []
        hidden = any(option.arg == "hide_code" and ast.unparse(option.value) == "True" for option in options)
        body = [part for part in node.body if not isinstance(part, ast.Return)]
        code = ""
        if body:
            first, last = body[0].lineno - 1, body[-1].end_lineno
            code = "\n".join(line.removeprefix("    ") for line in lines[first:last])
        cells.append(Cell(code, hidden))
    return cells


def render(name: str) -> tuple[str, Mapping[str, Any]]:
    """Run a notebook.

    Returns:
        The page, and the values of the notebook's variables.
    """
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    app = importlib.import_module(name).app
    outputs, values = app.run()
    cells = read_cells((HERE / f"{name}.py").read_text())
    charts = iter(_drawings(outputs))
    shown = [_code(cell) + _output(output, charts) for cell, output in zip(cells, outputs, strict=True)]
    return _page(name, shown), values


def _drawings(outputs: Sequence[Any]) -> list[str]:
    charts = [output for output in outputs if isinstance(output, alt.TopLevelMixin)]
    return draw([_spec(chart) for chart in charts])


def _spec(chart: Any) -> dict[str, Any]:
    """The chart's specification in the reports' colours, as wide as the page."""
    spec: dict[str, Any] = chart.to_dict()
    spec.pop("title", None)
    for layer in spec.get("layer", []):
        layer.pop("title", None)
    return {"width": 560, "background": None, "padding": 8, **spec, "config": _CONFIG}


def _code(cell: Cell) -> str:
    if cell.hidden or not cell.code.strip():
        return ""
    return f"<details><summary>Code</summary><pre><code>{html.escape(cell.code)}</code></pre></details>\n"


def _output(output: Any, charts: Any) -> str:
    """One output as HTML: text as its author's, a table, a chart; anything else by its name."""
    if output is None:
        return ""
    if isinstance(output, alt.TopLevelMixin):
        return _figure(output, next(charts))
    if isinstance(output, pa.Table):
        output = output.to_pandas()
    if isinstance(output, pd.DataFrame):
        return f"<section>{_table(output)}</section>"
    if hasattr(output, "text"):
        return f'<section class="text">{output.text}</section>'
    return f"<section><pre>{html.escape(repr(output))}</pre></section>"


def _figure(chart: Any, drawing: str) -> str:
    label = html.escape(_title(chart))
    frame = f'<div class="scroll" tabindex="0" role="img" aria-label="{label}">{drawing}</div>'
    return f"<figure><figcaption>{label}</figcaption>{frame}</figure>"


def _title(chart: Any) -> str:
    spec: dict[str, Any] = chart.to_dict()
    titles = [part.get("title") for part in (spec, *spec.get("layer", []))]
    found = next((title for title in titles if title), "A chart")
    return str(found.get("text") if isinstance(found, dict) else found)


def _table(frame: pd.DataFrame) -> str:
    numeric = [
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in frame.dtypes
    ]
    head = "".join(
        f'<th scope="col"{_class(is_number)}>{html.escape(str(name))}</th>'
        for name, is_number in zip(frame.columns, numeric, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{_class(is_number)}>{html.escape(_cell(value))}</td>"
            for value, is_number in zip(row, numeric, strict=True)
        )
        + "</tr>\n"
        for row in frame.head(MAX_ROWS).itertuples(index=False, name=None)
    )
    left = len(frame) - MAX_ROWS
    note = f'<p class="note">and {left:,} more rows</p>' if left > 0 else ""
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="A table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>{note}"
    )


def _class(is_number: bool) -> str:
    return ' class="n"' if is_number else ""


def _cell(value: Any) -> str:
    """A value as people read it: no more than four digits after the point, nothing for what is not there."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return str(value)


def _page(name: str, cells: Sequence[str]) -> str:
    links = "".join(
        f"<li>{html.escape(_named(other))}</li>"
        if other == name
        else f'<li><a href="{other}.html">{html.escape(_named(other))}</a></li>'
        for other in NOTEBOOKS
    )
    css = _CSS.read_text() + _MORE_CSS
    return _PAGE.format(
        title=html.escape(_named(name)), css=css, links=links, cells="\n".join(filter(None, cells))
    )


def _named(name: str) -> str:
    return name.replace("_", " ").capitalize()


def main() -> None:
    """Render what the command line names, or all."""
    parser = argparse.ArgumentParser(prog="render.py", description="Run notebooks; write them as HTML.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"any of {', '.join(NOTEBOOKS)}; all if none"
    )
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "notebooks")
    given = parser.parse_args()
    names = given.names or NOTEBOOKS
    unknown = sorted(set(names) - set(NOTEBOOKS))
    if unknown:
        parser.error(f"there is no notebook {unknown[0]}; there are {', '.join(NOTEBOOKS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        page, _values = render(name)
        file = given.out / f"{name}.html"
        file.write_text(page, encoding="utf-8")
        print(file)  # noqa: T201 - the command's answer


if __name__ == "__main__":
    main()
