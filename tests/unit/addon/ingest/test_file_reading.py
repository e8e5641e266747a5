"""People's files keep their values and types as rows, and every bad row with its line."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import gzip
import io
import json
import math
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.ingest.files.compressed import unpacked
from addon.ingest.files.options import (
    FileFormat,
    FileOptions,
    FileRows,
    TimeFormat,
    dead_rows,
    dead_rows_text,
)
from addon.ingest.files.reading import read_file
from addon.ingest.files.times import seconds_array, seconds_of
from addon.ingest.json_lines import BadLine
from addon.ingest.limits import IngestLimits
from platform_core.base.errors import InvalidInput, TooLarge

_LIMITS = IngestLimits()


def _csv(body: bytes, **options: Any) -> FileRows:
    return read_file(body, FileOptions(FileFormat.CSV, **options), _LIMITS)


def _ndjson(body: bytes, **options: Any) -> FileRows:
    return read_file(body, FileOptions(FileFormat.NDJSON, **options), _LIMITS)


def _parquet(table: pa.Table, **options: Any) -> FileRows:
    out = io.BytesIO()
    pq.write_table(table, out)
    return read_file(out.getvalue(), FileOptions(FileFormat.PARQUET, **options), _LIMITS)


def _rows(found: FileRows) -> list[Any]:
    rows = [json.loads(line) for line in found.lines.split(b"\n")[:-1]]
    assert len(rows) == found.rows
    return rows


def test_csv_cells_are_numbers_booleans_texts_or_nothing() -> None:
    body = b'a,b,c,zip,note\n1,true,1.50,01234,"x ""y"", z"\n-7,FALSE,2e3,12345,""\n,,,,\n'
    assert _csv(body).lines.splitlines() == [
        b'{"a":1,"b":true,"c":1.50,"zip":"01234","note":"x \\"y\\", z"}',
        b'{"a":-7,"b":false,"c":2e3,"zip":"12345","note":""}',
        b"{}",
    ]
    assert _rows(_csv(body, all_text=True))[1]["a"] == "-7"
    assert _rows(_csv(body, text=frozenset({"b"})))[0] == {
        "a": 1,
        "b": "true",
        "c": 1.5,
        "zip": "01234",
        "note": 'x "y", z',
    }


def test_a_rare_text_among_numbers_leaves_the_numbers_numbers() -> None:
    rare = b"n\n" + b"5\n" * 20 + b"N/A\n"
    assert {json.dumps(row["n"]) for row in _rows(_csv(rare))} == {"5", '"N/A"'}
    often = b"n\n" + b"5\n" * 5 + b"N/A\n"
    assert {json.dumps(row["n"]) for row in _rows(_csv(often))} == {'"5"', '"N/A"'}


def test_bad_csv_rows_are_told_by_their_line_in_the_file() -> None:
    body = b'time,a,b\n1577836800,1,"two\nlines"\n\n1,2\n'
    body += b"2020-01-01 00:00:01,2,x\r\nnever,3,y\n1,2,3,4\n5,\xff,z\n"
    found = _csv(body, first_line=100)
    assert [row["time"] for row in _rows(found)] == [1_577_836_800, 1_577_836_801]
    assert [(line.number, line.reason) for line in found.bad] == [
        (104, "has 2 fields, not 3"),
        (106, "time_is_not_readable"),
        (107, "has 4 fields, not 3"),
        (108, "not_utf8"),
    ]
    assert found.bad[1].body == b'{"time":"never","a":3,"b":"y"}'
    assert found.bad[3].body == b"5,\xff,z"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no CSV header"),
        (b"\n\n", "no CSV header"),
        (b"a,a\n1,2\n", "names 'a' twice"),
        (b",\n1,2\n", "2 columns, 0 with a name"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1\n", "Line 2: has 1 fields, not 2; no other row is good"),
    ],
)
def test_csv_without_a_good_row_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        _csv(body)


_cell = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=12)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(_cell, _cell, _cell), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_csv_that_python_wrote_is_read_text_by_text(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    found = _csv(out.getvalue().encode(), delimiter=delimiter, all_text=True)
    assert [tuple(row.values()) for row in _rows(found)] == rows
    assert not found.bad


@settings(deadline=None)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False), min_size=1)
)
def test_csv_numbers_are_kept_digit_for_digit(numbers: list[float]) -> None:
    body = "n\n" + "".join(f"{number!r}\n" for number in numbers)
    assert [json.dumps(row["n"]) for row in _rows(_csv(body.encode()))] == [
        repr(number) for number in numbers
    ]


def test_parquet_keeps_types() -> None:
    moment = dt.datetime(2020, 1, 1, 12, 0, 0, 500_000, tzinfo=dt.UTC)
    table = pa.table(
        {
            "time": pa.array([moment, None], pa.timestamp("ms", "Asia/Tokyo")),
            "whole": pa.array([2.0, math.nan]),
            "small": pa.array([0.1, math.inf], pa.float32()),
            "huge": pa.array([2**64 - 1, None], pa.uint64()),
            "price": pa.array([decimal.Decimal("1.50"), None], pa.decimal128(10, 2)),
            "exact": pa.array([decimal.Decimal("1.5"), None], pa.decimal128(38, 10)),
            "seen": pa.array([moment, None], pa.timestamp("us", "UTC")),
            "day": pa.array([moment.date(), None]),
            "blob": pa.array([b"\xff", b"text"]),
            "word": pa.array(["a", "b"]).dictionary_encode(),
            "list": [[1, None], []],
            "map": pa.array([[("k", 1.5)], None], pa.map_(pa.string(), pa.float64())),
            "struct": [{"x": moment, "y": b"z"}, None],
        }
    )
    first, second = _parquet(table).lines.splitlines()
    assert json.loads(first) == {
        "time": 1_577_880_000,
        "whole": 2.0,
        "small": 0.10000000149011612,
        "huge": 2**64 - 1,
        "price": 1.5,
        "exact": "1.5000000000",
        "seen": "2020-01-01 12:00:00.5",
        "day": "2020-01-01",
        "blob": "/w==",
        "word": "a",
        "list": [1, None],
        "map": {"k": 1.5},
        "struct": {"x": "2020-01-01 12:00:00.500000", "y": "z"},
    }
    assert b'"whole":2.0,' in first
    assert json.loads(second) == {"small": "Infinity", "blob": "text", "word": "b", "list": []}


_columns = st.fixed_dictionaries(
    {
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "s": st.none() | st.text(st.characters(codec="utf-8")),
        "b": st.none() | st.booleans(),
        "l": st.none() | st.lists(st.none() | st.integers(0, 9)),
    }
)
_SCHEMA = pa.schema(
    {"i": pa.int64(), "f": pa.float64(), "s": pa.string(), "b": pa.bool_(), "l": pa.list_(pa.int64())}
)


@settings(deadline=None)
@given(st.lists(_columns, min_size=1, max_size=6))
def test_parquet_values_are_kept_exactly(rows: list[dict[str, Any]]) -> None:
    found = _rows(_parquet(pa.Table.from_pylist(rows, _SCHEMA)))
    assert found == [{name: value for name, value in row.items() if value is not None} for row in rows]


def _as_plain_texts(packed: bytes) -> bytes:
    """Return a Parquet file without its Arrow schema: its texts are just texts, in dictionary pages."""
    out = io.BytesIO()
    table = pq.read_table(io.BytesIO(packed))
    pq.write_table(table.cast(pa.schema({"a": pa.string()})), out, store_schema=False)
    return out.getvalue()


def test_what_is_no_parquet_is_refused_and_so_is_what_unpacks_to_too_much() -> None:
    with pytest.raises(InvalidInput, match="not readable as Parquet"):
        read_file(b"PAR1 or not", FileOptions(FileFormat.PARQUET), _LIMITS)
    out = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array(["x" * 10_000] * 20_000).dictionary_encode()}), out)
    assert len(out.getvalue()) < 100_000
    for packed in (out.getvalue(), _as_plain_texts(out.getvalue())):
        with pytest.raises(TooLarge, match="unpacks to over"):
            read_file(packed, FileOptions(FileFormat.PARQUET), _LIMITS)
    wide = b"x" * 10_000 + b"\n" + b"1\n" * 200_000
    with pytest.raises(TooLarge, match="JSON would be over"):
        _csv(wide)


def test_ndjson_is_passed_on_as_it_is_and_its_bad_lines_are_kept() -> None:
    clean = b'{"a":1.00}\n{"b":2}'
    assert _ndjson(clean).lines == clean
    found = _ndjson(b'{"a":1.00}\n\n[1]\n{"b":\n{"b":2}\n', first_line=11)
    assert found.lines == b'{"a":1.00}\n{"b":2}\n'
    assert [(line.number, line.reason[:14]) for line in found.bad] == [
        (13, "not_a_json_obj"),
        (14, "malformed_json"),
    ]
    assert _ndjson(b'\n{"a":1}\n\n').lines == b'{"a":1}\n'


def test_ndjson_takes_its_time_from_another_member() -> None:
    body = (
        b'{"ts":"2020-01-01T09:00:00+09:00","n":1.00}\n{"ts":"never"}\n{"n":3}\n{"ts":1577836800123,"time":1}'
    )
    found = _ndjson(body, time_column="ts")
    assert found.lines.splitlines() == [
        b'{"ts":"2020-01-01T09:00:00+09:00","n":1.00,"time":1577836800}',
        b'{"n":3}',
        b'{"ts":1577836800123,"time":1577836800}',
    ]
    assert [(line.number, line.reason) for line in found.bad] == [(2, "time_is_not_readable")]


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (1_577_836_800, "auto", 1_577_836_800),
        ("1577836801", "auto", 1_577_836_801),
        (1_577_836_800_999, "auto", 1_577_836_800),
        (1_577_836_800_999_999, "auto", 1_577_836_800),
        (1_577_836_800_999_999_999, "auto", 1_577_836_800),
        (1_577_836_800.9, "auto", 1_577_836_800),
        (-1.5, "auto", -2),
        (1_577_836_800_999, "unix", 1_577_836_800_999),
        (1_577, "unix_ms", 1),
        (-1, "unix_ms", -1),
        ("2020-01-01", "auto", 1_577_836_800),
        ("2020-01-01 00:00:00 UTC", "iso", 1_577_836_800),
        ("2020-01-01T00:00:00.999Z", "iso", 1_577_836_800),
        ("2020-01-01T09:00:00+0900", "auto", 1_577_836_800),
        ("2020-01-01", "unix", None),
        (1_577_836_800, "iso", None),
        ("01/02/2020", "auto", None),
        (True, "auto", None),
        (math.nan, "auto", None),
        ([], "auto", None),
        ("2" * 100, "auto", None),
        ("3208020571400", "iso", None),
        ("20200101T000000Z", "iso", 1_577_836_800),
        ("20200101", "iso", 1_577_836_800),
    ],
)
def test_times_are_read_in_their_forms(value: Any, form: str, expected: int | None) -> None:
    assert seconds_of(value, TimeFormat(form)) == expected


@settings(deadline=None)
@given(
    st.lists(st.none() | st.integers(-(10**18) + 1, 10**18 - 1), min_size=1),
    st.sampled_from(list(TimeFormat)),
)
def test_a_column_of_times_is_read_as_each_of_them_is(values: list[int | None], form: TimeFormat) -> None:
    texts = [None if v is None else str(v) for v in values]
    for column in (pa.array(values, pa.int64()), pa.array(texts, pa.string())):
        expected = [seconds_of(value, form) for value in column.to_pylist()]
        seconds, wrong = seconds_array(column, form)
        assert seconds.to_pylist() == expected
        assert list(wrong) == [n for n, v in enumerate(values) if v is not None and expected[n] is None]


def test_bodies_are_unpacked_within_limits() -> None:
    text = b'{"a":1}\n' * 1_000
    for packed in (gzip.compress(text), zstandard.compress(text), zstandard.compress(text[:4000]) * 2):
        assert unpacked(packed, _LIMITS) == text[:4000] * 2
    bomb = zstandard.compress(bytes(64 << 20)) * 4
    with pytest.raises(TooLarge):
        unpacked(bomb, _LIMITS)
    for broken in (
        zstandard.compress(text)[:-3],
        zstandard.compress(text)[:9] + b"xxxx",
        gzip.compress(text)[:-9],
    ):
        with pytest.raises(InvalidInput):
            unpacked(broken, _LIMITS)


def test_bad_rows_travel_in_a_batchs_meta_as_many_as_are_kept() -> None:
    bad = [BadLine(number, b"\xff" * 20, "not_utf8") for number in range(1, 8)]
    rows = dead_rows(dead_rows_text(bad, 10, 5))
    assert len(rows) == 6
    assert (rows[0].reason, rows[0].body) == ("line 1: not_utf8", "\\xff" * 10)
    assert rows[5].reason == "2 more bad rows in this upload"


@pytest.mark.parametrize(
    ("body", "rows", "bad"),
    [
        (b'size,n\n5" pipe,1\n6" pipe,2\n7,3,4\nx,5\n', [('5" pipe', 1), ('6" pipe', 2), ("x", 5)], [4]),
        (
            b'size,n\n"a\nb",1\n5",2\n"c""\nd",3\nx\ny,4\n',
            [("a\nb", 1), ('5"', 2), ('c"\nd', 3), ("y", 4)],
            [7],
        ),
        (b"size,n\ra,1\rb,2,3\rc,4\r", [("a", 1), ("c", 4)], [3]),
        (b"size,n\na,1\n\xff,2\n\xfe,3,4\nb,5\n", [("a", 1), ("b", 5)], [3, 4]),
    ],
    ids=["quotes inside", "quotes that open and inside", "carriage returns", "not utf-8"],
)
def test_a_bad_row_is_named_by_its_line_whatever_quotes_and_line_ends_are_before_it(
    body: bytes, rows: list[tuple[str, int]], bad: list[int]
) -> None:
    found = read_file(body, FileOptions(FileFormat.CSV), IngestLimits())
    assert [line.number for line in found.bad] == bad
    read = [json.loads(line) for line in found.lines.split(b"\n") if line]
    assert [(row["size"], row["n"]) for row in read] == rows


def test_a_parquet_time_column_of_lists_makes_bad_rows_not_a_fault() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"at": [[1], None, [2, 3]], "a": [1, 2, 3]}), file)
    options = FileOptions(FileFormat.PARQUET, time_column="at")
    found = read_file(file.getvalue(), options, IngestLimits())
    assert [line.number for line in found.bad] == [1, 3]
    assert found.rows == 1
