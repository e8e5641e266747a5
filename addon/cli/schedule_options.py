"""The options of ``sluice schedule``, as typer reads them. A command imports what it needs when it runs."""

# ruff: noqa: PLC0415  # imports inside commands keep `sluice --help` under 200 ms

from __future__ import annotations

import sys
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from addon.cli.schedule import ScheduleCommands

schedules = typer.Typer(
    help="Queries, analyses and reports that run by the clock.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The home folder (default: $SLUICE_HOME, else ~/.sluice).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Name = Annotated[str, typer.Argument(help="The schedule's name.")]
Cron = Annotated[
    str | None,
    typer.Option(
        "--cron",
        help="minute hour day month weekday, or @hourly @daily @weekly @monthly; empty: on demand only.",
    ),
]
Zone = Annotated[
    str | None, typer.Option("--timezone", help="The cron's time zone, an IANA name (default: UTC).")
]
Database = Annotated[
    str | None, typer.Option("-d", "--database", help="The database of the SQL's tables (default: logs).")
]
Dialect = Annotated[
    str | None,
    typer.Option("-T", "--type", help="The SQL dialect: presto, trino, hive or duckdb (default: presto)."),
]
Sql = Annotated[str | None, typer.Option("--query", help="The SQL that it runs; `-` reads it from stdin.")]
Analysis = Annotated[str | None, typer.Option("--analysis", help="The analysis that it runs.")]
Report = Annotated[str | None, typer.Option("--report", help="The report that it runs.")]
ParamsOption = Annotated[
    str | None,
    typer.Option(
        "--params",
        help='Of an analysis, JSON: {"tables": {INPUT: TABLE}, "inputs": {INPUT: SQL}, "params": {}}.',
    ),
]
Delay = Annotated[int | None, typer.Option("--delay", help="Seconds from a slot to the start of its job.")]
Priority = Annotated[int | None, typer.Option("--priority", help="-2 (last) to 2 (first).")]
Retries = Annotated[int | None, typer.Option("--retry", help="How often a failed job is tried again.")]
CatchUp = Annotated[
    int | None,
    typer.Option(
        "--catch-up", help="Of slots missed in an outage, run so many of the newest (default: 24; reports 1)."
    ),
]


def _commands(home: Path | None, *, as_json: bool, as_csv: bool) -> ScheduleCommands:
    from addon.cli.home import default_home
    from addon.cli.output import choose_format
    from addon.cli.schedule import ScheduleCommands

    return ScheduleCommands(home or default_home(), choose_format(as_json=as_json, as_csv=as_csv))


def _runs(sql: str | None, analysis: str | None, report: str | None) -> dict[str, str]:
    from addon.cli.schedule import what_runs

    return what_runs(sys.stdin.read() if sql == "-" else sql, analysis, report)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


@schedules.command()
def create(
    name: Name,
    *,
    cron: Cron = None,
    timezone: Zone = None,
    database: Database = None,
    dialect: Dialect = None,
    sql: Sql = None,
    analysis: Analysis = None,
    report: Report = None,
    params: ParamsOption = None,
    delay: Delay = None,
    priority: Priority = None,
    retry: Retries = None,
    catch_up: CatchUp = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="It does not run before it is enabled.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Make a schedule; its first slot is the next one of its cron."""
    fields = _given(
        cron=cron,
        timezone=timezone,
        params=params,
        delay=delay,
        priority=priority,
        retry_limit=retry,
        catch_up=catch_up,
        enabled=False if disabled else None,
    )
    fields |= {"database": database or "logs", "type": dialect or "presto", **_runs(sql, analysis, report)}
    raise typer.Exit(_commands(home, as_json=as_json, as_csv=as_csv).create(name, fields))


@schedules.command()
def update(
    name: Name,
    *,
    new_name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    cron: Cron = None,
    timezone: Zone = None,
    database: Database = None,
    dialect: Dialect = None,
    sql: Sql = None,
    analysis: Analysis = None,
    report: Report = None,
    params: ParamsOption = None,
    delay: Delay = None,
    priority: Priority = None,
    retry: Retries = None,
    catch_up: CatchUp = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="Stop it, or let it begin anew with the next slot from now."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Change what is given, leave the rest."""
    fields = _given(
        name=new_name,
        cron=cron,
        timezone=timezone,
        database=database,
        type=dialect,
        params=params,
        delay=delay,
        priority=priority,
        retry_limit=retry,
        catch_up=catch_up,
        enabled=enabled,
    )
    fields |= _runs(sql, analysis, report)
    raise typer.Exit(_commands(home, as_json=as_json, as_csv=as_csv).update(name, fields))


@schedules.command(name="list")
def list_(home: HomeOption = None, as_json: JsonOption = False, as_csv: CsvOption = False) -> None:
    """List the schedules."""
    raise typer.Exit(_commands(home, as_json=as_json, as_csv=as_csv).list())


@schedules.command()
def show(name: Name, home: HomeOption = None, as_json: JsonOption = False, as_csv: CsvOption = False) -> None:
    """Show a schedule with its next slots."""
    raise typer.Exit(_commands(home, as_json=as_json, as_csv=as_csv).show(name))


@schedules.command()
def run(
    name: Name,
    *,
    since: Annotated[
        str | None,
        typer.Option("--from", help="Unix seconds or ISO 8601 (default: the newest slot that has passed)."),
    ] = None,
    slots: Annotated[int, typer.Option("--slots", min=1, max=9, help="For so many slots from there on.")] = 1,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Run it now, as if it were the time of a slot; the slot's own job is another one."""
    raise typer.Exit(_commands(home, as_json=as_json, as_csv=as_csv).run(name, since, slots))


@schedules.command()
def history(
    name: Name,
    *,
    most: Annotated[int, typer.Option("--last", min=1, max=1000, help="So many of the newest.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List the jobs that it issued in the last 90 days, the newest first."""
    raise typer.Exit(_commands(home, as_json=as_json, as_csv=as_csv).history(name, most))


@schedules.command()
def delete(
    name: Name, home: HomeOption = None, as_json: JsonOption = False, as_csv: CsvOption = False
) -> None:
    """Delete a schedule and its history; its jobs stay."""
    raise typer.Exit(_commands(home, as_json=as_json, as_csv=as_csv).delete(name))
