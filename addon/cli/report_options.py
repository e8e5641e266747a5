"""The options of ``sluice report``; each command imports what it needs when it runs."""

# ruff: noqa: PLC0415  # imports inside commands keep `sluice --help` under 200 ms

from __future__ import annotations

from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from addon.cli.report import ReportCommands

reports = typer.Typer(
    help="Reports: analyses rendered, kept, compared with the run before, and delivered.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The home folder (default: $SLUICE_HOME, else ~/.sluice).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Name = Annotated[str, typer.Argument(help="The report's name.")]


def _commands(home: Path | None, *, as_json: bool = False, as_csv: bool = False) -> ReportCommands:
    from addon.cli.home import default_home
    from addon.cli.output import choose_format
    from addon.cli.report import ReportCommands

    return ReportCommands(home or default_home(), choose_format(as_json=as_json, as_csv=as_csv))


@reports.command("apply")
def apply(
    file: Annotated[Path, typer.Argument(help="The definition: JSON, or TOML called *.toml.")],
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the report that a file defines, or change it."""
    raise typer.Exit(_commands(home, as_json=as_json).apply(file))


@reports.command("list")
def list_reports(*, home: HomeOption = None, as_json: JsonOption = False, as_csv: CsvOption = False) -> None:
    """List the reports."""
    raise typer.Exit(_commands(home, as_json=as_json, as_csv=as_csv).list())


@reports.command("show")
def show(
    name: Name,
    run: Annotated[str | None, typer.Argument(help="A run's number, or latest.")] = None,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show a report and its runs; or one run: what it found, what is missing, what was delivered."""
    raise typer.Exit(_commands(home, as_json=as_json, as_csv=as_csv).show(name, run))


@reports.command("run")
def run(
    name: Name,
    *,
    slot: Annotated[
        str | None, typer.Option("--slot", help="As if it were this time: ISO 8601 or Unix seconds.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Give up waiting after this many seconds.")
    ] = 600.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a report now and wait for it."""
    raise typer.Exit(_commands(home, as_json=as_json).run(name, slot, timeout))


@reports.command("deliver")
def deliver(
    name: Name,
    run: Annotated[str, typer.Argument(help="A run's number, or latest.")] = "latest",
    *,
    home: HomeOption = None,
) -> None:
    """Try what failed of a run's deliveries once more."""
    raise typer.Exit(_commands(home).deliver(name, run))


@reports.command("open")
def open_(
    name: Name,
    run: Annotated[str, typer.Argument(help="A run's number, or latest.")] = "latest",
    *,
    out: Annotated[Path | None, typer.Option("--out", help="Where to save it (default: NAME.html).")] = None,
    home: HomeOption = None,
) -> None:
    """Save a run's page and print its path."""
    raise typer.Exit(_commands(home).open(name, run, out))


@reports.command("delete")
def delete(name: Name, *, home: HomeOption = None) -> None:
    """Delete a report with its runs."""
    raise typer.Exit(_commands(home).delete(name))
