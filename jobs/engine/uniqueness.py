"""Whether a table repeats its key: the cheapest proof first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.engine.port import Engine, Kind
from jobs.engine.text import query
from jobs.native.bitmap import all_differ
from jobs.native.library import library

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A bitmap is tried when at least one bit in so many would be set, and it is small for any memory limit.
_BITMAP_SPREAD, _BITMAP_BITS = 16, 1 << 30
#: Small enough to be in the processor's cache still when it is looked at.
_BATCH_ROWS = 1 << 16


def distinct_keys(
    engine: Engine,
    relation: str,
    unique: Sequence[str],
    expected: int,
    bounds: tuple[int, int] | None = None,
) -> int:
    """How many keys there are among `expected` rows.

    Where the key's last integer alone never repeats, or always increases, or there are as many hashes as
    rows, no key repeats; else the keys are counted. `bounds` is the range of that integer where it is known.
    """
    if (bounds or engine.columns(relation)[unique[-1]].kind is Kind.INTEGER) and (
        _all_differ(engine, relation, unique[-1], expected, bounds)
        or _increases(engine, relation, unique[-1])
    ):
        return expected
    if _count(engine, relation, engine.dialect.row_hash(unique)) == expected:
        return expected
    return _count(engine, relation, ", ".join(unique))


def _count(engine: Engine, relation: str, keys: str) -> int:
    found = engine.collect(query("staging", "distinct_keys", keys=keys, relation=relation))
    count: int = found.to_pylist()[0]["n"]
    return count


def _all_differ(
    engine: Engine, relation: str, column: str, expected: int, bounds: tuple[int, int] | None
) -> bool:
    """Whether an integer column repeats nothing, where a bitmap of its range can tell."""
    if engine.dialect.bitmap_count(column, 0, 0) is None:
        return False
    if bounds is None:
        found = engine.collect(query("staging", "bounds", column=column, relation=relation)).to_pylist()[0]
        if found["low"] is None:
            return False
        bounds = found["low"], found["high"]
    low, high = bounds
    if high - low >= min(expected * _BITMAP_SPREAD, _BITMAP_BITS):
        return False
    if (native := library()) is not None:
        values = query("staging", "typed", items=column, relation=relation)
        return all_differ(native, engine.stream(values, _BATCH_ROWS, ahead=False), low, high)
    count = engine.dialect.bitmap_count(column, low, high) or "0"
    found = engine.collect(query("staging", "one_number", number=count, relation=relation))
    return bool(found.to_pylist()[0]["n"] == expected)


def _increases(engine: Engine, relation: str, column: str) -> bool:
    """Whether the rows come in the order of an integer, as those of most logs do."""
    increases = engine.dialect.increases(column)
    if increases is None:
        return False
    found = engine.collect(query("staging", "increases", increases=increases, relation=relation))
    return bool(found.to_pylist()[0]["increases"])
