"""What typing must make of JSON lines, in plain Python, and values that break other readers of them."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from addon.warehouse import typing_sql
from addon.warehouse.schema import TableSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.warehouse.scan.lines import Scanned
    from addon.warehouse.typed import Typed

KINDS = {"i": "long", "d": "double", "b": "boolean", "s": "string", "j": "json"}
SCHEMA = TableSchema().with_columns(KINDS.items())
TEXTS = [
    "0",
    "1",
    "-1",
    "-0",
    "1.0",
    "1.5",
    "1e3",
    "1E3",
    "-2.5e-3",
    "12345678901234567890",
    "1e400",
    "-1e400",
    "1e22",
    str(2**53 - 1),
    str(2**53),
    str(2**53 + 1),
    str(2**63 - 1),
    str(2**63),
    str(-(2**63)),
    str(-(2**63) - 1),
    str(2**64),
    "0.1",
    "1e-400",
    "123456789012345678901234567890",
    '""',
    '"12"',
    '"1.5"',
    '"true"',
    '"nan"',
    '"Infinity"',
    '"x"',
    '"\\u0000"',
    '"\\u00e9\\ud83d\\ude00"',
    '"a\\"b\\\\c/d"',
    "true",
    "false",
    "null",
    "{}",
    "[]",
    '{"a":1}',
    '{"a":{"b":[1,2,{"c":null}]}}',
    '[1,null,"x"]',
    '{"":""}',
]
KEYS = [
    *KINDS,
    "new",
    "NEW",
    "I",
    "a.b",
    "$x",
    "/y",
    "~z",
    "un known",
    "'q'",
    "rn",
    "l",
    "c0",
    "_overflow",
    "é",
    "",
]
INTEGER = re.compile(r"-?\d+")


def line_of(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(key)}:{text}" for key, text in members) + "}"


def is_number(text: str) -> bool:
    return text[0] in "-0123456789"


def fits_long(text: str) -> bool:
    return bool(INTEGER.fullmatch(text)) and -(2**63) <= int(text) < 2**63


def fits_double(text: str) -> bool:
    if not is_number(text) or not math.isfinite(float(text)):
        return False
    return abs(float(text)) < 2**53 or not INTEGER.fullmatch(text) or int(float(text)) == int(text)


def fits(kind: str, text: str) -> bool:
    if kind == "long":
        return fits_long(text)
    if kind == "double":
        return fits_double(text)
    return kind != "boolean" or text in {"true", "false"}


def same(value: Any, text: str, kind: str) -> bool:
    """Tell whether a column's value is what the text says."""
    if kind == "json" or (kind == "string" and text[0] != '"'):
        return bool(json.loads(value) == json.loads(text))
    return bool(value == json.loads(text))


def shown(row: dict[str, Any], result: Typed, key: str) -> Any:
    """Return a logical column's value as the view puts it together."""
    column = result.schema.keys()[key]
    values = (row[name] for name, _ in reversed(column.stored))
    return next((value for value in values if value is not None), None)


def check(batch: list[list[tuple[str, str]]], result: Typed) -> None:
    """Compare every row with the oracle: each value in its column or the overflow, nothing else anywhere."""
    assert result.rejected == []
    assert result.table.num_rows == len(batch)
    columns = result.schema.keys()
    for members, row in zip(batch, result.table.to_pylist(), strict=True):
        assert row["time"] == 77
        last = dict(members)
        overflow = json.loads(row["_overflow"] or "{}")
        earlier = overflow.pop("_duplicates", {})
        for key, text in last.items():
            column = columns.get(key)
            if text == "null":
                assert key not in overflow
                assert column is None or shown(row, result, key) is None
            elif column is not None and any(fits(kind, text) for _, kind in column.stored):
                assert same(shown(row, result, key), text, column.type), (key, text, column.type, row)
                assert key not in overflow
            else:
                assert column is None or shown(row, result, key) is None, (key, text, row)
                assert overflow.pop(key) == json.loads(text)
        for key, texts in earlier.items():
            assert texts == [json.loads(text) for name, text in members if name == key][:-1]
        assert set(earlier) == {key for key, _ in members if [name for name, _ in members].count(key) > 1}
        assert overflow == {}
        absent = set(columns) - set(last) - {"time"}
        assert all(shown(row, result, key) is None for key in absent)


def line_with(members: list[tuple[str, str]], blank: str) -> str:
    """Return an object with blanks around its colons and commas, and a key's slash escaped."""
    return (
        "{"
        + f"{blank},{blank}".join(
            json.dumps(key).replace("/", "\\/") + f"{blank}:{blank}{text}" for key, text in members
        )
        + "}"
    )


DECEIVING = [
    '":"',
    '" :"',
    '":\\":"',
    '"\\":x"',
    '"x\\\\"',
    '"\\u0022\\u003a"',
    '"\\u003a"',
    '["\\u003a"]',
    '{"a":1,"a":2}',
    '{"x" :1}',
    '[{"a":":"},{"b\\"":":"}]',
    '{"\\u0022:":1}',
    '"a : b"',
    '": ,\\":"',
]


class Number(str):
    """A number's own text."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """An object's members in their order, repeats included."""


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def understood(text: str) -> Any:
    """Return a JSON text's value by RFC 8259, numbers as their texts, objects as their members.

    Raises:
        ValueError: it is none.
    """
    return json.loads(
        text,
        object_pairs_hook=Members,
        parse_int=Number,
        parse_float=Number,
        parse_constant=_no_constant,
    )


def _printed(value: Any) -> Any:
    """Return a value with the one number changed that is printed otherwise than written."""
    if isinstance(value, Members):
        return Members((key, _printed(item)) for key, item in value)
    if isinstance(value, list):
        return [_printed(item) for item in value]
    return Number("0") if isinstance(value, Number) and value == "-0" else value


def _is_number(found: Any, value: Any, kind: str) -> bool:
    if not isinstance(value, Number) or not fits(kind, value):
        return False
    if kind == "long" or INTEGER.fullmatch(value):
        return bool(found == int(value))
    return bool(found == float(value)) and math.copysign(1, found) == math.copysign(1, float(value))


def _is(found: Any, value: Any, kind: str) -> bool:
    """Tell whether a column of a kind holds exactly what the line says."""
    if value is None:
        return found is None
    if kind in {"long", "double"}:
        return _is_number(found, value, kind)
    if kind == "boolean":
        return isinstance(value, bool) and found is value
    if kind == "string" and isinstance(value, str) and not isinstance(value, Number):
        return bool(found == value)
    return bool(understood(found) == _printed(value))


def check_scanned(lines: Sequence[bytes], found: Scanned, schema: TableSchema, receipt: int) -> None:
    """Hold the rows that the kernel took against their lines; what it leaves is never wrong."""
    for values in found.values:
        values.validate(full=True)
        assert len(values) == len(found.rows)
    columns = schema.keys()
    taken = [lines[row] for row in found.rows.tolist()]
    assert found.rows.tolist() == sorted(set(found.rows.tolist()))
    for line, *row in zip(taken, *(values.to_pylist() for values in found.values), strict=True):
        members = understood(line.decode("utf-8"))
        assert isinstance(members, Members), line
        said = dict(members)
        assert len(said) == len(members), line
        assert said.keys() <= columns.keys(), line
        for value, (key, column) in zip(row, columns.items(), strict=True):
            kind = column.stored[-1][1]
            if column.name == "time":
                assert typing_sql.MIN_TIME <= value <= typing_sql.MAX_TIME
                assert value == int(said.get(key, receipt))
            else:
                assert _is(value, said.get(key), kind), (line, key, value)
