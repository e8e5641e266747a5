"""The ``sluice`` command line. Each command imports what it needs when it runs."""

# ruff: noqa: PLC0415  # imports inside commands keep `sluice --help` under 200 ms

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path  # typer reads the annotations
from typing import Annotated

import typer

from addon.cli.failures import Exit, Failure
from addon.cli.ports import DEFAULT_BASE
from addon.cli.report_options import reports
from addon.cli.schedule_options import schedules

app = typer.Typer(
    help="Sluice: log and event analytics with the dyno platform it plugs into.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.add_typer(schedules, name="schedule")
app.add_typer(reports, name="report")

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The home folder (default: $SLUICE_HOME, else ~/.sluice).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
SecondsOption = Annotated[float, typer.Option("--timeout", help="Give up after this many seconds.")]


def _home(given: Path | None) -> Path:
    from addon.cli.home import default_home

    return given or default_home()


@app.command()
def up(
    home: HomeOption = None,
    port_base: Annotated[int, typer.Option("--port-base", help="The first of ten ports.")] = DEFAULT_BASE,
) -> None:
    """Run the platform and the add-on in the foreground; write HOME/env.sh and print `ready`."""
    from addon.cli.up import up as run

    raise typer.Exit(run(_home(home), port_base))


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until Ctrl-C.")] = False,
    home: Annotated[Path | None, typer.Option("--home", help="The home folder (default: a new one).")] = None,
    port_base: Annotated[
        int | None, typer.Option("--port-base", help="Default: the first free ones.")
    ] = None,
) -> None:
    """From git push to report, on real purchases: start, push, drive traffic, compare, analyse, stop."""
    from addon.cli.demo.run import run_demo

    raise typer.Exit(run_demo(home, port_base, keep=keep))


@app.command()
def env(home: HomeOption = None) -> None:
    """Print the recipe for clients; use it with: eval "$(sluice env)"."""
    from addon.cli.home import Home

    print(Home(_home(home)).recipe(), end="")


@app.command()
def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check this machine and the installation; say what is missing and what to do."""
    from addon.cli.doctor import doctor as run

    raise typer.Exit(run(_home(home), as_json=as_json))


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="The query; `-` reads it from stdin.")],
    *,
    database: Annotated[
        str, typer.Option("-d", "--database", help="The database it names tables of.")
    ] = "logs",
    engine: Annotated[
        str, typer.Option("-T", "--type", help="The SQL dialect: presto, trino or hive.")
    ] = "presto",
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    timeout: SecondsOption = 600.0,
) -> None:
    """Run SQL and print its rows: a table on a terminal, tab-separated values in a pipe."""
    from addon.cli.output import choose_format
    from addon.cli.query import query as run

    text = sys.stdin.read() if sql == "-" else sql
    form = choose_format(as_json=as_json, as_csv=as_csv)
    raise typer.Exit(run(_home(home), text, database, engine, form=form, timeout=timeout))


@app.command()
def analyze(
    name: Annotated[
        str | None, typer.Argument(help="The analysis, for example `ranking`; a manifest names it itself.")
    ] = None,
    *,
    database: Annotated[
        str | None,
        typer.Option("-d", "--db", "--database", help="The database of the tables (default: logs)."),
    ] = None,
    inputs: Annotated[list[str] | None, typer.Option("--input", help="INPUT=SQL: what it reads.")] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", help="INPUT=TABLE, instead of SQL; without both, tables of the same name."),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="INPUT.COLUMN=NAME: the table's name of a column.")
    ] = None,
    snapshots: Annotated[
        list[str] | None, typer.Option("--snapshot", help="DATABASE.TABLE=VERSION: what is read of a table.")
    ] = None,
    params: Annotated[
        str | None, typer.Option("--params", help="Its parameters, a JSON object, or @FILE with one.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="duckdb (default), or spark for what outgrows it.")
    ] = None,
    dialect: Annotated[
        str | None, typer.Option("--dialect", help="Of the inputs' SQL (default: duckdb).")
    ] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Keep the versions that are read.")] = False,
    from_manifest: Annotated[
        str | None, typer.Option("--from-manifest", help="A manifest.json, or a run's number: run it again.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write a run folder, print no rows.")] = None,
    progress: Annotated[
        bool | None,
        typer.Option("--progress/--no-progress", help="A line on stderr (default: on a terminal)."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    timeout: SecondsOption = 600.0,
) -> None:
    """Run an analysis on the add-on and print its tables; or repeat a run on the same data."""
    from addon.cli.analyze import Asked
    from addon.cli.analyze import analyze as run
    from addon.cli.output import choose_format

    asked = Asked(
        name,
        database,
        inputs or [],
        tables or [],
        columns or [],
        snapshots or [],
        params,
        engine,
        dialect,
        pin,
        from_manifest,
    )
    form = choose_format(as_json=as_json, as_csv=as_csv)
    shown = sys.stderr.isatty() if progress is None else progress
    raise typer.Exit(run(_home(home), asked, form=form, timeout=timeout, out=out, progress=shown))


@app.command(name="import")
def import_(
    files: Annotated[
        list[str], typer.Argument(help="NDJSON, CSV, TSV or Parquet, also .gz and .zst; `-` is stdin.")
    ],
    *,
    database: Annotated[str, typer.Option("-d", "--database", help="Made when missing.")],
    table: Annotated[str, typer.Option("-t", "--table", help="Made when missing.")],
    form: Annotated[
        str | None, typer.Option("--format", help="ndjson, csv or parquet (default: by the file's name).")
    ] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="Of CSV: a character, or tab.")] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="The names of a CSV file without a header: a,b,c.")
    ] = None,
    all_text: Annotated[bool, typer.Option("--all-text", help="Keep every CSV value as text.")] = False,
    text: Annotated[str | None, typer.Option("--text", help="CSV columns to keep as text: a,b.")] = None,
    time_column: Annotated[
        str | None, typer.Option("--time-column", help="The column with the rows' time (default: time).")
    ] = None,
    time_format: Annotated[str, typer.Option("--time-format", help="auto, unix, unix_ms or iso.")] = "auto",
    again: Annotated[
        str, typer.Option("--again", help="A word under which what was imported before goes in once more.")
    ] = "",
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=32, help="Requests at once.")] = 4,
    patience: Annotated[
        float, typer.Option("--patience", min=0.0, help="Seconds to wait while the add-on is busy or away.")
    ] = 120.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import files into a table; after an interruption, the same command goes on where it was."""
    from addon.cli.import_command import ImportOptions, import_files

    given = {
        "delimiter": delimiter,
        "columns": columns,
        "all_text": "1" if all_text else None,
        "text": text,
        "time_column": time_column,
        "time_format": None if time_format == "auto" else time_format,
    }
    query = {name: value for name, value in given.items() if value}
    options = ImportOptions(form, query, again, parallel, patience, as_json)
    raise typer.Exit(import_files(_home(home), files, database, table, options))


@app.command()
def fsck(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read the data files.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check log, tables, files, hashes and database, also while it runs; exit 1 when something is wrong."""
    from addon.cli.upkeep import upkeep

    options = [*(["--quick"] if quick else []), *(["--json"] if as_json else [])]
    raise typer.Exit(upkeep("fsck", _home(home), *options))


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="The folder of backups; a new one is made in it.")],
    home: HomeOption = None,
) -> None:
    """Make a consistent copy of the home folder, also while it runs."""
    from addon.cli.upkeep import upkeep

    raise typer.Exit(upkeep("backup", _home(home), str(folder)))


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A backup, or a folder of backups (the newest is taken).")],
    home: HomeOption = None,
) -> None:
    """Restore a backup into an empty home folder, and verify it."""
    from addon.cli.upkeep import upkeep

    raise typer.Exit(upkeep("restore", _home(home), str(folder)))


@app.command()
def replay(
    *,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Send the dead letters again too.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Send again what was put aside, once its cause is mended; also while the service runs."""
    from addon.cli.upkeep import upkeep

    options = ["--dead-letters"] if dead_letters else []
    raise typer.Exit(upkeep("replay", _home(home), *options))


@app.command()
def usage(
    *,
    account: Annotated[int | None, typer.Option("--account", help="Of this account only.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="The first day, like 2026-11-01.")] = None,
    through: Annotated[str | None, typer.Option("--through", help="The last day, included.")] = None,
    zone: Annotated[str | None, typer.Option("--zone", help="Whose days they are (default: UTC).")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show what every account used, by day and table; for the operator, on a node's home folder."""
    from addon.cli.upkeep import upkeep

    given = {"--account": account, "--from": first, "--through": through, "--zone": zone}
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    options += [*(["--json"] if as_json else []), *(["--csv"] if as_csv else [])]
    raise typer.Exit(upkeep("usage", _home(home), *options))


@app.command("forget-node")
def forget_node(
    node: Annotated[str, typer.Argument(help="Its id, the beginning of it, or its URL.")],
    home: HomeOption = None,
) -> None:
    """Forget a node of a fleet whose disk is lost, so that queries stop to warn of it; not one that lives."""
    from addon.cli.upkeep import upkeep

    raise typer.Exit(upkeep("forget-node", _home(home), node))


def main() -> None:
    """Run the command line; failures go to stderr and into the exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a row may hold what the locale cannot show
    try:
        app()
    except Failure as failure:
        print(failure.text(), file=sys.stderr)
        sys.exit(failure.code)
    except OSError as error:
        what = f"{type(error).__name__} in the middle of the command"
        told = Failure(what, str(error), "Mend that, then try again; `sluice doctor` may know more.")
        print(told.text(), file=sys.stderr)
        sys.exit(told.code)
    except KeyboardInterrupt:
        print("sluice: interrupted", file=sys.stderr)
        sys.exit(Exit.INTERRUPTED)


if __name__ == "__main__":
    main()
