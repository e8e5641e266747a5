"""JSON texts of a column to exact values, many at once with Arrow; what does not fit exactly is marked.

Arrow's casts are strict, unlike SQL's: ``1.5``, ``1e3``, ``"12"`` and ``true`` are no integers. A column with
a misfit makes the cast fail as a whole; then the texts that surely fit are picked by their spelling. A mark
may be wrong for a value that fits (the slow query decides), never for one that does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from addon.warehouse.typing_sql import EXACT, MAX_TIME, MIN_TIME, stored_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from addon.models.tables import Column

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Counts = np.ndarray[Any, np.dtype[np.int64]]

_INTEGER = "^-?[0-9]{1,18}$"
_NUMBER = "^[-0-9]"


@dataclass(slots=True)
class Cast:
    """Some rows' values, one array per column. ``time`` is NULL where a row has none."""

    values: list[pa.Array]
    fits: Flags
    """Whether every value of a row fits its column exactly."""
    present: Counts
    """How many of a row's values are not null."""


def cast(columns: Sequence[Column], texts: Sequence[pa.StringArray]) -> Cast:
    """Cast the texts of all columns; ``texts`` are JSON where the type is checked or JSON, else strings."""
    rows = len(texts[0])
    out = Cast([], np.ones(rows, bool), np.zeros(rows, np.int64))
    for column, text in zip(columns, texts, strict=True):
        value, fits = _CASTS.get(stored_kind(column), _as_is)(text)
        out.values.append(value)
        if fits is not None:
            out.fits &= fits
        out.present += 1 if not text.null_count else _flags(text.is_valid())
    time = out.values[0]
    if not _within(time, MIN_TIME, MAX_TIME):
        low, high = pc.greater_equal(time, MIN_TIME), pc.less_equal(time, MAX_TIME)
        out.fits &= _flags(pc.and_(low, high).fill_null(True))
    return out


def _flags(array: pa.BooleanArray) -> Flags:
    flags: Flags = array.to_numpy(zero_copy_only=False)
    return flags


def _within(values: pa.Array, low: float, high: float) -> bool:
    """Tell whether all values are in the closed range."""
    found = pc.min_max(values).as_py()
    return found["min"] is None or (low <= found["min"] and found["max"] <= high)


def _as_is(text: pa.StringArray) -> tuple[pa.Array, None]:
    return text, None


def _picked(text: pa.StringArray, spelling: str, kind: pa.DataType) -> tuple[pa.Array, Flags]:
    """Cast the texts of a certain spelling; the others become NULL and do not fit."""
    good = pc.match_substring_regex(text, spelling)
    value = pc.cast(pc.if_else(good, text, pa.scalar(None, pa.string())), kind)
    return value, _flags(good.fill_null(True))


def _long(text: pa.StringArray) -> tuple[pa.Array, Flags | None]:
    try:
        return pc.cast(text, pa.int64()), None
    except pa.ArrowInvalid:
        return _picked(text, _INTEGER, pa.int64())


def _double(text: pa.StringArray) -> tuple[pa.Array, Flags | None]:
    try:
        value, fits = pc.cast(text, pa.float64()), None
    except pa.ArrowInvalid:
        value, fits = _picked(text, _NUMBER, pa.float64())
    if _within(value, 1 - EXACT, EXACT - 1):
        return value, fits
    exact = _flags(pc.less(pc.abs(value), EXACT).fill_null(True))
    return value, exact if fits is None else exact & fits


def _boolean(text: pa.StringArray) -> tuple[pa.Array, Flags | None]:
    value = pc.equal(text, "true")
    fits = pc.or_(value, pc.equal(text, "false"))
    if pc.all(fits).as_py() is not False:
        return value, None
    return pc.if_else(fits, value, pa.scalar(None, pa.bool_())), _flags(fits.fill_null(True))


_CASTS: dict[str, Callable[[pa.StringArray], tuple[pa.Array, Flags | None]]] = {
    "long": _long,
    "double": _double,
    "boolean": _boolean,
}
