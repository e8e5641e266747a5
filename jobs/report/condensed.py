"""Outputs of any length, added up or cut before they are told.

A report needs their groups only, while their rows may be millions: as Python objects they would take
gigabytes. So they are added up as columns, and a builder gets one row per group, whose `n` says how many rows
it stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jobs.report.runs import Row, RunFolder

_DAY = 86_400
#: Rows of paths and rankings that are told one by one; a page shows 30 of them.
MANY = 5_000
_PATHS = ("path", "length", "entities", "conversions", "value_minor", "share", "p50_duration_s")
#: Steps of a chance between 0 and 1.
_STEPS = 10


def condensed(run: RunFolder, output: str) -> list[Row] | None:
    """The rows of an output, added up where it has one for each customer or session.

    Returns:
        `None` when the run has no such output.

    Raises:
        InputError: the file is there but is no Parquet.
        KeyError: it lacks a column of its contract.
    """
    make = _CONDENSED.get(output)
    file = run.path / f"{output}.parquet"
    if make is None or not file.is_file():
        return run.rows(output)
    try:
        return make(file) if pq.read_metadata(file).num_rows else []
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file} cannot be read ({error}); run the analysis again") from error


def _read(file: Path, *columns: str) -> pa.Table:
    missing = [name for name in columns if name not in pq.read_schema(file).names]
    if missing:
        raise KeyError(missing[0])
    return pq.read_table(file, columns=list(columns), partitioning=None)


def _grouped(table: pa.Table, keys: Sequence[str], sums: Sequence[str] = ()) -> list[Row]:
    """Groups by their keys in order, with sums under the columns' own names and `n`."""
    wanted: list[tuple[list[str] | str, str]] = [*((name, "sum") for name in sums), ([], "count_all")]
    found = table.group_by(list(keys)).aggregate(wanted)
    names = {f"{name}_sum": name for name in sums} | {"count_all": "n"}
    renamed = found.rename_columns([names.get(name, name) for name in found.column_names])
    rows: list[Row] = renamed.sort_by([(key, "ascending") for key in keys]).to_pylist()
    return rows


def _summary(file: Path) -> list[Row]:
    table = _read(file, "frequency", "monetary_minor", "unit")
    return _grouped(table, ("frequency", "unit"), ("monetary_minor",))


def _rfm(file: Path) -> list[Row]:
    table = _read(file, "r", "f", "segment", "monetary_minor")
    return _grouped(table, ("segment", "r", "f"), ("monetary_minor",))


def _clv(file: Path) -> list[Row]:
    """Groups by tenths of the chance to be active and of the value to come; the best tenth is 1."""
    table = _read(file, "p_alive", "expected_purchases", "clv_minor", "unit")
    chance = pc.cast(pc.floor(pc.multiply(table["p_alive"], float(_STEPS))), pa.int64())
    step = pc.min_element_wise(chance, pa.scalar(_STEPS - 1), skip_nulls=False)
    size = table.num_rows
    # Of equal values the one that comes first in the output's order ranks first.
    order = pc.array_sort_indices(table["clv_minor"].combine_chunks(), order="descending")
    places = pa.array(range(size), pa.int64()).take(pc.array_sort_indices(order))
    tenth = pc.add(pc.divide(pc.multiply(places, _STEPS), max(size, 1)), 1)
    known = pc.if_else(pc.is_valid(table["clv_minor"]), tenth, pa.scalar(None, pa.int64()))
    grouped = table.append_column("step", step).append_column("tenth", known)
    return _grouped(grouped, ("step", "tenth", "unit"), ("p_alive", "expected_purchases", "clv_minor"))


def _profile(file: Path) -> list[Row]:
    """Groups by segment and channel; `buyers` are those with an order."""
    table = _read(file, "segment", "first_channel", "orders", "sessions", "net_minor", "clv_12m_minor")
    buyers = pc.cast(pc.greater(table["orders"], 0), pa.int64())
    grouped = table.append_column("buyers", buyers)
    sums = ("buyers", "orders", "sessions", "net_minor", "clv_12m_minor")
    return _grouped(grouped, ("segment", "first_channel"), sums)


def _sessions(file: Path) -> list[Row]:
    """Groups by UTC day and channel; a user counts as new with their first session, in the day's rows."""
    table = _read(
        file, "session_index", "started_at", "duration_s", "events", "channel", "converted", "value_minor"
    )
    day = pc.multiply(pc.divide(table["started_at"], _DAY), _DAY)
    first = pc.cast(pc.equal(table["session_index"], 1), pa.int64())
    bounced = pc.cast(pc.equal(table["events"], 1), pa.int64())
    converted = pc.cast(table["converted"], pa.int64())
    grouped = (
        table.drop_columns(["converted"])
        .append_column("day", day)
        .append_column("users", first)
        .append_column("bounced", bounced)
        .append_column("converted", converted)
    )
    sums = ("users", "bounced", "converted", "value_minor", "duration_s", "events")
    return _grouped(grouped, ("day", "channel"), sums)


def _paths(file: Path) -> list[Row]:
    """The most common paths, and one row for all others, whose `n` says how many paths they are."""
    size = pq.read_metadata(file).num_rows
    if size <= MANY:
        rows: list[Row] = _read(file, *_PATHS).to_pylist()
        return rows
    table = _read(file, *_PATHS)
    rest = table.slice(MANY)
    sums = {name: pc.sum(rest[name]).as_py() for name in ("entities", "conversions", "value_minor", "share")}
    other = {"path": "(other)", "length": 0, "p50_duration_s": None, "n": size - MANY, **sums}
    return [*table.slice(0, MANY).to_pylist(), other]


def _ranking(file: Path) -> list[Row]:
    """The first items of each segment in the latest period, and those that left the first places.

    `periods` and `ranked` say how many periods, and how many ranked items of the latest one, there are.
    """
    names = pq.read_schema(file).names
    if pq.read_metadata(file).num_rows <= MANY:
        rows: list[Row] = _read(file, *names).to_pylist()
        return rows
    periods = _read(file, "period_start")["period_start"]
    latest = pc.max(periods)
    table = pq.read_table(file, filters=[("period_start", "=", latest.as_py())], partitioning=None)
    ranked = pc.sum(pc.cast(pc.is_valid(table["rank"]), pa.int64())).as_py()
    place = pc.coalesce(table["ordinal"], table["previous_rank"])
    segments = max(1, pc.count_distinct(table["segment"]).as_py())
    kept = table.filter(pc.less_equal(place, max(50, MANY // segments)))
    told = {"periods": pc.count_distinct(periods).as_py(), "ranked": ranked}
    return [row | told for row in kept.to_pylist()]


_CONDENSED: dict[str, Callable[[Path], list[Row]]] = {
    "paths": _paths,
    "ranking": _ranking,
    "customer_summary": _summary,
    "rfm": _rfm,
    "clv": _clv,
    "profile": _profile,
    "sessions": _sessions,
}
