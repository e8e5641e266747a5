"""`python -m jobs report`: the command line of the report."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from jobs.contracts.errors import JobsError, UserError
from jobs.report.bundle import write_bundle
from jobs.report.html import render_html
from jobs.report.runs import RunFolder
from jobs.report.terminal import render_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

USER_MISTAKE = 2
FAILURE = 1
_PIPED_WIDTH = 120
_LEAST_WIDTH = 60


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs report", description="Report finished runs, as HTML and in the terminal."
    )
    parser.add_argument(
        "--run",
        action="append",
        type=Path,
        metavar="DIR",
        help="a folder that `run --out` wrote; repeat for more",
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="write page, mail, pictures and JSON of the report that this JSON file describes into --out",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the HTML report here")
    parser.add_argument("--title", default="Report", help="the title of the HTML report")
    parser.add_argument("--currency", default="", help="the unit of the amounts, such as USD")
    parser.add_argument("--terminal", action="store_true", help="print the tables; so it does without --out")
    return parser


def _piped_width() -> int:
    """`COLUMNS` when it is set to something useful, as terminals and watchers do."""
    columns = os.environ.get("COLUMNS", "")
    return max(_LEAST_WIDTH, int(columns)) if columns.isdecimal() else _PIPED_WIDTH


def main(argv: Sequence[str]) -> int:
    """Report runs. Returns the exit code: 0, 2 for the caller's mistakes, 1 for all other failures."""
    parser = _parser()
    options = parser.parse_args(argv)
    if (options.bundle is None) == (not options.run):
        parser.error("give --run, once or more, or --bundle")
    if options.bundle is not None and options.out is None:
        parser.error("--bundle needs --out, the folder to write")
    console = Console()
    if not console.is_terminal:
        console = Console(width=_piped_width())
    try:
        if options.bundle is not None:
            write_bundle(options.bundle, options.out)
            return 0
        runs = [RunFolder.open(path, options.currency) for path in options.run]
        if options.terminal or options.out is None:
            render_terminal(runs, console)
        if options.out is not None:
            render_html(runs, options.title, options.out)
    except JobsError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return USER_MISTAKE if isinstance(error, UserError) else FAILURE
    except OSError as error:
        sys.stderr.write(f"error: {options.out} cannot be written ({error.strerror}); give another --out\n")
        return FAILURE
    return 0
