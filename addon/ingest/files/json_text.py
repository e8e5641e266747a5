"""Arrow columns to JSON texts, value by value without a Python object for each.

A value keeps its type by how it is spelled: a double has a point or an exponent, a text its quotes. NaN is a
missing value; infinities are the texts "Infinity" and "-Infinity", as in msgpack imports.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_NEEDS_ESCAPE = r'["\\\x00-\x1f]'
_EXACT_DIGITS = 15
"""Decimal digits that binary64 keeps, whatever they are."""
_EMPTY = pa.scalar("")


def joined(columns: list[tuple[str, pa.StringArray]], rows: int) -> pa.StringArray:
    """Return rows as JSON objects from (name, JSON texts) pairs; a null text is a member left out."""
    members = []
    for name, texts in columns:
        key = pa.scalar("," + msgspec.json.encode(name).decode() + ":")
        members.append(pc.binary_join_element_wise(key, texts, _EMPTY))
    if not members:
        return pa.array(["{}"] * rows, pa.string())
    # Not null_handling="skip": pyarrow 26 leaves out rows whose members are all null, and shifts the others.
    inner = pc.binary_join_element_wise(*members, _EMPTY, null_handling="replace", null_replacement="")
    inner = pc.utf8_slice_codeunits(inner, 1)
    whole: pa.StringArray = pc.binary_join_element_wise(pa.scalar("{"), inner, pa.scalar("}"), _EMPTY)
    return whole


def quoted(texts: pa.StringArray) -> pa.StringArray:
    """Return texts as JSON strings."""
    quote = pa.scalar('"')
    plain: pa.StringArray = pc.binary_join_element_wise(quote, texts, quote, _EMPTY)
    special = pc.fill_null(pc.match_substring_regex(texts, _NEEDS_ESCAPE), fill_value=False)
    if not pc.any(special).as_py():
        return plain
    escaped = [msgspec.json.encode(text).decode() for text in texts.filter(special).to_pylist()]
    done: pa.StringArray = pc.replace_with_mask(plain, special, pa.array(escaped, pa.string()))
    return done


def texts_of(values: pa.Array) -> pa.StringArray:
    """Return a column's values as JSON texts, null where there is no value.

    Timestamps become ``YYYY-MM-DD HH:MM:SS[.ffffff]`` in UTC, dates ``YYYY-MM-DD``, bytes UTF-8 text or else
    base64, lists, structs and maps JSON, durations their count in the column's unit, decimals numbers as far
    as a double keeps their digits and texts beyond.
    """
    for is_kind, text_of in _FORMS:
        if is_kind(values.type):
            return text_of(values)
    return quoted(_as_text(values))


def _as_text(values: pa.Array) -> pa.StringArray:
    """Return texts, dates and bytes as text."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        coded = [None if value is None else _bytes_text(value) for value in values.to_pylist()]
        return pa.array(coded, pa.string())


def _bytes_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _floats(values: pa.DoubleArray) -> pa.StringArray:
    texts = values.cast(pa.string())
    whole = pc.match_substring_regex(texts, r"^-?\d+$")
    texts = pc.if_else(whole, pc.binary_join_element_wise(texts, pa.scalar(".0"), _EMPTY), texts)
    if pc.all(pc.is_finite(values)).as_py() is False:
        infinite = pc.if_else(pc.greater(values, 0), pa.scalar('"Infinity"'), pa.scalar('"-Infinity"'))
        texts = pc.if_else(pc.is_inf(values), infinite, texts)
        texts = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.string()), texts)
    result: pa.StringArray = texts
    return result


def _without_zeros(texts: pa.StringArray) -> pa.StringArray:
    cut = pc.replace_substring_regex(texts, r"\.0+$", "")
    result: pa.StringArray = pc.replace_substring_regex(cut, r"(\.\d*[1-9])0+$", r"\1")
    return result


def _decimals(values: pa.Array) -> pa.StringArray:
    text = values.cast(pa.string())
    return text if values.type.precision <= _EXACT_DIGITS or values.type.scale == 0 else quoted(text)


def _moments(values: pa.Array) -> pa.StringArray:
    naive = values.cast(pa.timestamp(values.type.unit))  # of a zoned column: the time in UTC
    return quoted(_without_zeros(naive.cast(pa.string())))


def _nested(values: pa.Array) -> pa.StringArray:
    rows = (
        None if value is None else msgspec.json.encode(_plain(value)).decode() for value in values.to_pylist()
    )
    return pa.array(rows, pa.string())


_FORMS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.StringArray]], ...] = (
    (pa.types.is_dictionary, lambda values: texts_of(values.cast(values.type.value_type))),
    (pa.types.is_null, lambda values: pa.nulls(len(values), pa.string())),
    (pa.types.is_boolean, lambda values: values.cast(pa.string())),
    (pa.types.is_integer, lambda values: values.cast(pa.string())),
    (pa.types.is_floating, lambda values: _floats(values.cast(pa.float64()))),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_timestamp, _moments),
    (pa.types.is_time, lambda values: quoted(_without_zeros(values.cast(pa.string())))),
    (pa.types.is_duration, lambda values: values.cast(pa.int64()).cast(pa.string())),
    (pa.types.is_nested, _nested),
)


def _plain(value: Any) -> Any:
    """Return a nested value of JSON's own types; a map's pairs become an object."""
    match value:
        case dict():
            plain: Any = {str(key): _plain(item) for key, item in value.items()}
        case [tuple(), *_]:
            plain = {str(key): _plain(item) for key, item in value}
        case list():
            plain = [_plain(item) for item in value]
        case float() if math.isinf(value):
            plain = "Infinity" if value > 0 else "-Infinity"
        case bytes():
            plain = _bytes_text(value)
        case dt.datetime() if value.tzinfo is not None:
            plain = str(value.astimezone(dt.UTC).replace(tzinfo=None))
        case bool() | int() | float() | None:
            plain = value
        case _:
            plain = str(value)
    return plain
