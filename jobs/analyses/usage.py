"""Usage: what each table took in, took up and cost, day by day: what a bill is written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.log_inputs import INGESTED, QUERIED, STORED
from jobs.analyses.zones import calendar
from jobs.contracts.errors import InputError, ParameterError
from jobs.contracts.parameters import moment, optional, parameter, zone
from jobs.contracts.tables import OutputTable, bigint, double, varchar
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.engine.port import Engine

_NEGATIVE = {
    "ingested": "rows_in < 0 OR bytes_in < 0",
    "stored": "bytes_stored < 0",
    "queried": "bytes_scanned < 0 OR cpu_s < 0 OR isnan(cpu_s)",
}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of `usage`."""

    zone: str = parameter("UTC", zone(), "whose days they are", aliases=("timezone",))
    from_: int | str | None = parameter(
        None,
        optional(moment()),
        "a second of the first day reported; the first day that a meter knows when null",
        unit="Unix seconds",
    )
    through: int | str | None = parameter(
        None,
        optional(moment()),
        "a second of the last day reported, included; the last day that a meter knows when null",
        unit="Unix seconds",
        aliases=("data_through", "end"),
    )


def _check_inputs(given: frozenset[str]) -> None:
    if not given & set(_NEGATIVE):
        raise InputError("usage reads the meters ingested, stored and queried: give at least one of them")


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Add up, for each day of `zone` and each table, what the meters say.

    `rows_in` and `bytes_in` are sums of `ingested`. `bytes_stored` is the last size measured on the day, or
    the last one before it: a size stands until the next measurement, up to the last day; NULL before the
    first one. `queries` counts the queries that read the table; a query counts on the day on which it ended.
    `bytes_scanned` is what they read of it. `cpu_s`, the processor seconds of a query, go to its tables in
    proportion to the bytes read of each, in equal parts where it read none, so that they add up to the
    query's; a query without any table is under `(none)`.

    There is a row for each day and table that has a size, took something in or was read; `day` is its first
    second. Two measurements at one second of a table are a repeated key: the smaller is kept and the other
    counted as excluded. A meter that runs backwards (a negative number) is refused.
    """
    for meter, negative in _NEGATIVE.items():
        if meter not in present:
            engine.view(meter, query("usage", f"no_{meter}"))
        elif n := engine.collect(query("usage", "negative", relation=meter, negative=negative)).to_pylist()[
            0
        ]["n"]:
            raise InputError(f"{meter}: {n} rows hold a negative number ({negative}); a meter only counts up")
    engine.view("usage_times", query("usage", "times"))
    cal = calendar(engine, "day", parameters.zone, "usage_times", parameters.from_, parameters.through)
    known = engine.collect(query("staging", "time_range", relation="usage_times")).to_pylist()[0]
    first = cal.period_of(
        known["earliest"] or 0 if parameters.from_ is None else cal.moment(parameters.from_)
    )
    last = cal.period_of(
        known["latest"] or 0 if parameters.through is None else cal.moment(parameters.through)
    )
    if first > last:
        raise ParameterError(
            f"parameters from and through: {parameters.from_}..{parameters.through} holds no day;"
            " give from <= through"
        )
    days = {"day": cal.index("time"), "first_day": literal(first), "last_day": literal(last)}
    engine.view("usage_query_days", query("usage", "query_days", day=days["day"]))
    engine.view("usage_sizes", query("usage", "sizes", day=days["day"], last_day=days["last_day"]))
    standing = engine.dialect.series(
        f"GREATEST(day, {days['first_day']})", f"LEAST(until - 1, {days['last_day']})"
    )
    engine.view(
        "usage_stored_days",
        query("usage", "stored_days", days=standing, first_day=days["first_day"], last_day=days["last_day"]),
    )
    engine.view(
        "usage",
        query(
            "usage",
            "usage",
            day_start=cal.start("day_number"),
            table=engine.dialect.identifier("table"),
            **days,
        ),
    )
    return {"usage": "usage"}


ANALYSIS = Analysis(
    name="usage",
    version=1,
    summary="rows, bytes, queries and processor time of each table, day by day",
    inputs=(INGESTED, STORED, QUERIED),
    outputs=(
        OutputTable(
            "usage",
            (
                bigint("day", "its first second", unit="Unix seconds"),
                varchar("database"),
                varchar("table"),
                bigint("rows_in"),
                bigint("bytes_in", unit="bytes"),
                bigint("bytes_stored", "at the end of the day", nullable=True, unit="bytes"),
                bigint("queries", "that read the table"),
                bigint("bytes_scanned", unit="bytes"),
                double("cpu_s", unit="seconds"),
            ),
            key=("day", "database", "table"),
            # By number: `table` is a word of SQL, and the engines quote it differently.
            order="1, 2, 3",
        ),
    ),
    parameters=Parameters,
    compute=compute,
    check_inputs=_check_inputs,
)
