"""``python -m tests.benchmarks``: run every ``bench_*.py`` beside this file and report all their figures.

Each module has ``NAME: str`` and ``figures() -> list[Figure]`` and runs in a process of its own, so that one
neither warms nor bloats the next, and a crash costs only its own figures.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from types import ModuleType

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
LIBRARIES: Final = ("duckdb", "deltalake", "pyarrow", "pyspark", "msgpack", "uvicorn", "httptools")
CRASH_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one module's process came to: its figures, or the end of its error output."""

    name: str
    figures: list[dict[str, Any]]
    seconds: float
    error: str | None


def short_name(module: Path) -> str:
    """``bench_ingest.py`` is run as ``ingest``."""
    return module.stem.removeprefix("bench_")


def discover(directory: Path, only: str | None) -> list[Path]:
    """The benchmark modules of a directory in name order, or the single one asked for.

    Raises:
        SystemExit: ``only`` names no module; the message lists those there are.
    """
    modules = sorted(directory.glob("bench_*.py"))
    if only is None:
        return modules
    chosen = [module for module in modules if short_name(module) == only]
    if not chosen:
        known = ", ".join(short_name(module) for module in modules) or "none"
        raise SystemExit(f"no benchmark named {only!r}; there are: {known}")
    return chosen


def machine() -> str:
    """One line on the machine and the libraries, without which no figure means anything."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = [f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{cores} cores, {memory:.1f} GiB, load {load}, {now}; {', '.join(versions)}"


def run_isolated(module: Path) -> Outcome:
    """Run one module in its own process and gather its figures."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        result = Path(scratch) / "figures.json"
        command = [sys.executable, "-m", "tests.benchmarks", "--child", str(module), "--result", str(result)]
        done = subprocess.run(
            command, cwd=ROOT, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False
        )
        seconds = time.monotonic() - started
        if done.returncode == 0 and result.exists():
            return Outcome(short_name(module), json.loads(result.read_text()), seconds, None)
    tail = "\n".join(done.stderr.splitlines()[-CRASH_LINES:])
    return Outcome(short_name(module), [], seconds, tail or f"ended with status {done.returncode}")


def load(path: Path) -> ModuleType:
    """Import a benchmark module from its file, under a name of its own."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def child(path: Path, result: Path) -> None:
    """In the module's own process: measure, and leave the figures as JSON where the parent looks."""
    figures = [figure.as_json() for figure in load(path).figures()]
    result.write_text(json.dumps(figures))


def number(value: float | None) -> str:
    """A figure with the digits that mean something: ``1,234,567``, ``12.3``, ``0.0123``."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(outcomes: list[Outcome]) -> Table:
    """All figures of the run, one row each; a crashed module is a row too."""
    drawn = Table(title="Benchmarks", title_justify="left")
    for heading in ("figure", "value", "unit", "peer", "peer value", "ratio", "bar", "holds"):
        right = heading in {"value", "peer value", "ratio"}
        drawn.add_column(heading, justify="right" if right else "left", overflow="fold")
    for outcome in outcomes:
        if outcome.error is not None:
            drawn.add_row(outcome.name, "", "", "", "", "", "", Text("crashed", style="bold red"))
        for item in outcome.figures:
            cells = [
                Text(str(item["name"])),
                Text(number(item["value"])),
                Text(item["unit"]),
                Text(item["peer"] or "-"),
            ]
            ratio = "-" if item["ratio"] is None else f"{number(item['ratio'])} x"
            verdict = Text("yes", style="green") if item["holds"] else Text("NO", style="bold red")
            drawn.add_row(*cells, number(item["peer_value"]), ratio, Text(item["bar"]), verdict)
    return drawn


def run_all(modules: list[Path], out: Path) -> int:
    """Run the modules in turn, print the table, write the JSON; 1 if one crashed or a name is doubled."""
    progress, console = Console(stderr=True), Console()
    if not console.is_terminal:
        console = Console(width=160)
    outcomes = []
    for module in modules:
        progress.print(f"running {short_name(module)} ...", markup=False)
        outcomes.append(run_isolated(module))
        progress.print(f"  {outcomes[-1].seconds:.1f} s", markup=False)
    figures = [figure for outcome in outcomes for figure in outcome.figures]
    doubled = sorted(name for name, times in Counter(item["name"] for item in figures).items() if times > 1)
    console.print(machine(), markup=False, highlight=False, soft_wrap=True)
    console.print(table(outcomes))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n")
    for outcome in outcomes:
        if outcome.error is not None:
            progress.print(f"{outcome.name} crashed:\n{outcome.error}", markup=False, highlight=False)
    if doubled:
        progress.print(f"two figures have one name: {', '.join(doubled)}", markup=False, highlight=False)
    return 1 if doubled or any(outcome.error is not None for outcome in outcomes) else 0


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="run only bench_NAME.py")
    parser.add_argument("--dir", type=Path, default=HERE, help="where the bench_*.py modules are")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json", help="where the JSON goes")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child is not None:
        child(args.child, args.result)
        return 0
    return run_all(discover(args.dir.resolve(), args.only), args.out)


if __name__ == "__main__":
    sys.exit(main())
