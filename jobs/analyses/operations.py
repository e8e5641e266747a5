"""Operations: how apps did, from their logs: errors, latencies, codes, restarts, measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses.analysis import Analysis, Present, ReportRange
from jobs.analyses.log_inputs import APP_LOG, DYNO, METRICS, ROUTER
from jobs.contracts.errors import InputError
from jobs.contracts.parameters import flag, integer, parameter
from jobs.contracts.tables import Column, OutputTable, bigint, double, varchar
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.engine.port import Engine

_TABLES = frozenset({"router", "app", "dyno", "metrics"})
_PERCENTILES = (50, 90, 95, 99)
#: A part of a path that names one thing: a number, or 16 and more characters of an identifier.
_IDENTIFIER = r"/([0-9]+|[0-9a-fA-F-]{16,})\b"


@dataclass(frozen=True, kw_only=True)
class Parameters(ReportRange):
    """Parameters of `operations`."""

    bucket: int = parameter(
        3_600,
        integer(1, 31 * 86_400),
        "the length of a time bucket; buckets are counted from 1970-01-01 UTC",
        unit="seconds",
        aliases=("bucket_s",),
    )
    error_from: int = parameter(500, integer(400, 599), "the lowest status that is an error")
    by_path: bool = parameter(True, flag(), "also a row for each path, not only for each app")
    group_ids: bool = parameter(
        True, flag(), "paths that differ in numbers or long identifiers only are one: /orders/:id"
    )
    max_paths: int = parameter(
        100, integer(1, 100_000), "the paths of an app with a row of their own; the rest is `(other)`"
    )


def _check_inputs(given: frozenset[str]) -> None:
    if not given & _TABLES:
        raise InputError("operations reads router, app, dyno and metrics: give at least one of them")


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Count requests, errors, latencies, codes, restarts and measurements in buckets of time.

    A bucket is `bucket` seconds long, counted from 1970-01-01 UTC, and holds its first second but not the
    next bucket's. Buckets without a row are absent. Rows outside [from, to) do not count.

    `operations`, from `router`: a request is a line with a status or a code; others are `unreadable`. An
    error is a status of `error_from` or more, or a code without any status (so H27, which has status 499, is
    a client error); a client error is any other status of 400 or more. Rates are fractions of the requests.
    `requests_per_s` divides by the whole bucket's seconds, also where the log covers part of it. Percentiles
    are interpolated between the two nearest requests (percentile_cont) over the requests that have the time,
    in milliseconds. The path is the one before `?`; `(all)` is an app's total, whose percentiles are those
    of all requests together; beyond `max_paths` (by requests, then name) it is `(other)`.

    `operations_codes` counts H codes of `router`, R codes of `dyno` and L codes in `app`.
    `operations_dynos`: a restart is a state change from up or crashed to starting, a crash one to crashed, a
    failed exit one with a status other than 0. `operations_metrics`: count, sum, mean, lowest and highest
    value of each metric, kind and unit; what is no finite number is only counted. An app or process that is
    not given is `(none)`.
    """
    made = {}
    bucket = f"CAST(FLOOR(time / {parameters.bucket}) AS BIGINT) * {parameters.bucket}"
    places = {"bucket": bucket, "range": parameters.covers()}
    if "router" in present:
        _requests(engine, parameters, places)
        made["operations"] = "operations"
    parts = [
        query("operations", f"{table}_codes", **places)
        for table in ("router", "dyno", "app")
        if table in present
    ]
    if parts:
        engine.view("operations_codes", query("operations", "codes", parts=" UNION ALL ".join(parts)))
        made["operations_codes"] = "operations_codes"
    if "dyno" in present:
        engine.view("operations_dynos", query("operations", "dynos", **places))
        made["operations_dynos"] = "operations_dynos"
    if "metrics" in present:
        finite = "value > -1e308 AND value < 1e308 AND NOT isnan(value)"
        engine.view("operations_metrics", query("operations", "metrics", finite=finite, **places))
        made["operations_metrics"] = "operations_metrics"
    return made


def _requests(engine: Engine, parameters: Parameters, places: dict[str, str]) -> None:
    path = "SPLIT_PART(path, '?', 1)"
    if parameters.group_ids:
        path = engine.dialect.replace_all(path, _IDENTIFIER, "/:id")
    path = f"COALESCE(NULLIF({path}, ''), '(none)')" if parameters.by_path else "'(all)'"
    engine.view("ops_requests", query("operations", "requests", path=path, **places))
    engine.view("ops_top_paths", query("operations", "top_paths", max_paths=literal(parameters.max_paths)))
    is_error = f"COALESCE(status >= {parameters.error_from}, code IS NOT NULL)"
    engine.materialize("ops_counted", query("operations", "counted", is_error=is_error))
    engine.view(
        "ops_totals",
        query("operations", "with_totals") if parameters.by_path else "SELECT * FROM ops_counted",
    )
    for name in ("service", "connect"):
        engine.view(
            f"ops_{name}",
            query("operations", "percentiles", ms=f"{name}_ms", percentiles=_percentiles(f"{name}_ms")),
        )
    engine.view("operations", query("operations", "operations", seconds=literal(parameters.bucket)))


def _percentiles(ms: str) -> str:
    """SQL of interpolated percentiles over values in order, each with how many values are up to it."""
    items = []
    for percent in _PERCENTILES:
        rank = f"((total - 1) * {percent})"  # in hundredths, so that no rank is off by a rounding
        low = f"MIN(CASE WHEN upto * 100 > {rank} - {rank} % 100 THEN {ms} END)"
        high = f"MIN(CASE WHEN upto * 100 > {rank} + (100 - {rank} % 100) % 100 THEN {ms} END)"
        part = f"CAST(MAX({rank} % 100) AS DOUBLE) / 100"
        items.append(f"CAST({low} AS DOUBLE) + ({high} - {low}) * {part} AS p{percent}")
    return ", ".join(items)


_KEY = (bigint("bucket_start", "the bucket's first second", unit="Unix seconds"),)
_SUMS = (
    bigint("requests"),
    double("requests_per_s"),
    bigint("errors"),
    double("error_rate", "errors / requests", nullable=True, unit="fraction"),
    bigint("client_errors"),
    double("client_error_rate", "client errors / requests", nullable=True, unit="fraction"),
    bigint("unreadable", "lines without status and code"),
    bigint("bytes", "of the responses"),
)


def _times(name: str) -> tuple[Column, ...]:
    return (
        *(double(f"{name}_p{p}_ms", nullable=True, unit="milliseconds") for p in _PERCENTILES),
        bigint(f"{name}_max_ms", nullable=True, unit="milliseconds"),
    )


ANALYSIS = Analysis(
    name="operations",
    version=1,
    summary="requests, error rates, latencies, H, R and L codes, restarts and metrics from the logs",
    inputs=(ROUTER, APP_LOG, DYNO, METRICS),
    outputs=(
        OutputTable(
            "operations",
            (
                *_KEY,
                bigint("bucket_s", "its length", unit="seconds"),
                varchar("app"),
                varchar("path", "(all): the app's total"),
                *_SUMS,
                *_times("service"),
                *_times("connect"),
            ),
            key=("bucket_start", "app", "path"),
            order="bucket_start, app, path",
            doc="only with router",
        ),
        OutputTable(
            "operations_codes",
            (
                *_KEY,
                varchar("app"),
                varchar("source", "router, dyno, logplex"),
                varchar("code"),
                bigint("events"),
            ),
            key=("bucket_start", "app", "source", "code"),
            order="bucket_start, app, source, code",
            doc="only with router, dyno or app",
        ),
        OutputTable(
            "operations_dynos",
            (
                *_KEY,
                varchar("app"),
                varchar("process"),
                bigint("restarts"),
                bigint("crashes"),
                bigint("failed_exits"),
                bigint("r_codes"),
            ),
            key=("bucket_start", "app", "process"),
            order="bucket_start, app, process",
            doc="only with dyno",
        ),
        OutputTable(
            "operations_metrics",
            (
                *_KEY,
                varchar("app"),
                varchar("process"),
                varchar("metric"),
                varchar("kind"),
                varchar("unit", "empty: none"),
                bigint("samples"),
                bigint("unreadable", "values that are no number"),
                double("total", nullable=True),
                double("mean", nullable=True),
                double("lowest", nullable=True),
                double("highest", nullable=True),
            ),
            key=("bucket_start", "app", "process", "metric", "kind", "unit"),
            order="bucket_start, app, process, metric, kind, unit",
            doc="only with metrics",
        ),
    ),
    parameters=Parameters,
    compute=compute,
    check_inputs=_check_inputs,
)
