"""The rows' time out of a column of theirs: Unix time in any unit, or ISO 8601."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from addon.ingest.files.options import TimeFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS = ((100_000_000_000, 1), (100_000_000_000_000, 1_000), (100_000_000_000_000_000, 1_000_000))
"""A Unix time below each first number counts in that part of a second: s, ms, us; beyond them ns."""
_NANOSECONDS = 1_000_000_000
_NUMBER = re.compile(r"\s*(-?\d{1,20})(?:\.(\d*))?\s*", re.ASCII)
_ISO = re.compile(r"\d{4}-?(\d\d-?\d\d|W\d\d(-?\d)?)([Tt ].*)?", re.ASCII)
"""Python takes any character between date and time, a digit too: thirteen digits would be a date."""
_WHOLE = r"^-?\d{1,18}$"
_LONGEST = 40


def seconds_of(value: Any, form: TimeFormat) -> int | None:
    """Return a value's Unix second, None when it is no time in this form."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _from_number(value, form) if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    number = _NUMBER.fullmatch(value)
    if number is not None and form is not TimeFormat.ISO:
        return _from_number(int(number[1]) if not number[2] else float(value), form)
    return _from_text(value.strip()) if form in {TimeFormat.AUTO, TimeFormat.ISO} else None


def _from_number(value: float, form: TimeFormat) -> int | None:
    """Return the Unix second; whole numbers are divided as such, so that big ones stay exact."""
    if form is TimeFormat.ISO:
        return None
    parts = {TimeFormat.UNIX: 1, TimeFormat.UNIX_MS: 1_000}.get(form)
    if parts is None:
        parts = next((parts for below, parts in _UNITS if abs(value) < below), _NANOSECONDS)
    return math.floor(value // parts)


def _from_text(text: str) -> int | None:
    if not _ISO.fullmatch(text):
        return None
    try:
        moment = dt.datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return math.floor(moment.timestamp())


def seconds_array(values: pa.Array, form: TimeFormat) -> tuple[pa.Int64Array, Sequence[int]]:
    """Return a column's Unix seconds, null where it has no value, and the rows whose value is no time."""
    if pa.types.is_timestamp(values.type):
        floored = pc.floor_temporal(values.cast(pa.timestamp(values.type.unit)), unit="second")
        return floored.cast(pa.timestamp("s")).cast(pa.int64()), ()
    if pa.types.is_date(values.type):
        return values.cast(pa.timestamp("s")).cast(pa.int64()), ()
    numbers = _whole_numbers(values)
    if numbers is not None and form is not TimeFormat.ISO:
        return _divided(numbers, form), ()
    if pa.types.is_nested(values.type):
        return pa.nulls(len(values), pa.int64()), pc.indices_nonzero(pc.is_valid(values)).to_pylist()
    coded = values.dictionary_encode() if not pa.types.is_dictionary(values.type) else values
    found = pa.array([seconds_of(value, form) for value in coded.dictionary.to_pylist()], pa.int64())
    seconds = found.take(coded.indices)
    wrong = pc.and_(pc.is_valid(values), pc.is_null(seconds))
    return seconds, pc.indices_nonzero(wrong).to_pylist()


def _whole_numbers(values: pa.Array) -> pa.Int64Array | None:
    """Return a column of whole numbers as such, None when it is another one."""
    if pa.types.is_integer(values.type) and values.type != pa.uint64():
        return values.cast(pa.int64())
    if not pa.types.is_string(values.type):
        return None
    whole = pc.match_substring_regex(values, _WHOLE)
    return values.cast(pa.int64()) if pc.all(whole).as_py() is not False else None


def _divided(numbers: pa.Int64Array, form: TimeFormat) -> pa.Int64Array:
    """Return ``seconds_of`` for a whole column at once."""
    filled = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
    if form is TimeFormat.AUTO:
        bounds = [below for below, _ in _UNITS]
        sizes = np.searchsorted(bounds, np.abs(filled), side="right")
        parts = np.array([parts for _, parts in _UNITS] + [_NANOSECONDS], np.int64)[sizes]
    else:
        parts = np.int64(1 if form is TimeFormat.UNIX else 1_000)
    return pa.array(filled // parts, mask=pc.is_null(numbers).to_numpy(zero_copy_only=False))
