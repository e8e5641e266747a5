"""Hands the runs to the report of the jobs library, as a process: this command never imports an engine."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from addon.cli.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_REPORT_SECONDS = 120
_CURRENCY = ("--currency", "USD")


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write the HTML report of these runs; return its path."""
    _report([*_runs(runs), *_CURRENCY, "--title", "The Disc Shop", "--out", str(out)], subprocess.DEVNULL)
    return out


def print_tables(runs: Sequence[Path]) -> None:
    """Print the readable tables of these runs on our stdout, as wide and colourful as that is."""
    sys.stdout.flush()
    _report([*_runs(runs), *_CURRENCY, "--terminal"], None)


def _runs(folders: Sequence[Path]) -> list[str]:
    return [word for folder in folders for word in ("--run", str(folder))]


def _report(arguments: Sequence[str], stdout: int | None) -> None:
    argv = [sys.executable, "-m", "jobs", "report", *arguments]
    done = subprocess.run(
        argv, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=_REPORT_SECONDS
    )
    if done.returncode != 0:
        raise Failure(
            "The report could not be made", done.stderr[-2000:], "The runs are kept; see their manifests."
        )
