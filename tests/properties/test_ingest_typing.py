"""The typing, with the kernel and without, against a plain Python oracle over values that break readers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from addon.warehouse import key_count, typed, typing_sql
from addon.warehouse.scan.library import kernel
from addon.warehouse.schema import MAX_COLUMNS, TableSchema
from addon.warehouse.typed import Typed, Typer
from jobs.native.compiler import compiler
from tests.typing_oracle import DECEIVING, KEYS, SCHEMA, TEXTS, check, line_of, line_with

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBERS = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(TEXTS)), max_size=6)


@pytest.fixture(scope="module", params=[True, False], ids=["kernel", "sql"])
def typer(request: pytest.FixtureRequest) -> Iterator[Typer]:
    if request.param and kernel() is None:
        assert compiler() is None, "run: python -m addon.warehouse.scan"
        pytest.fail("no C compiler: `make setup-test` installs gcc, or names the line that does")
    engine = Typer(compiled=request.param)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def sql_typer() -> Iterator[Typer]:
    engine = Typer(compiled=False)
    yield engine
    engine.close()


def run(typer: Typer, batch: list[list[tuple[str, str]]], schema: TableSchema) -> Typed:
    lines = pa.array([line_of(members) for members in batch], pa.string())
    return typer.type_lines(lines, pa.array([77] * len(batch), pa.int64()), schema)


def test_every_hostile_value_in_every_column(typer: Typer) -> None:
    batch = [[(key, text)] for key in KEYS for text in TEXTS]
    for schema in (SCHEMA, TableSchema()):
        check(batch, run(typer, batch, schema))


def test_the_query_that_counts_nulls_agrees_with_the_oracle(
    sql_typer: Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typed, "_MANY_ROWS", 1)
    batch = [[(key, text)] for key in KEYS for text in TEXTS]
    batch += [[("i", first), ("i", second), ("b", "null")] for first in TEXTS for second in ("null", "1")]
    batch += [[(key, "null") for key in KEYS], [("s", "null"), ("new", "null"), ("d", "1.5")]] * 3
    for schema in (SCHEMA, TableSchema()):
        check(batch, run(sql_typer, batch, schema))


@settings(deadline=None, max_examples=15)
@given(batch=st.lists(MEMBERS, min_size=1, max_size=30))
def test_any_batch_keeps_every_value_when_nulls_are_counted(
    sql_typer: Typer, batch: list[list[tuple[str, str]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typed, "_MANY_ROWS", 1)
        check(batch, run(sql_typer, batch, SCHEMA))


def test_counting_keys_deceives_the_oracle_in_no_stretch(
    sql_typer: Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_count, "is_promising", lambda *_: True)
    batch = [[(key, text)] for key in KEYS for text in TEXTS + DECEIVING]
    batch += [[("j", first), ("j", second)] for first in DECEIVING for second in (*DECEIVING, "null")]
    batch += [[("j", value), (key, "1")] for value in DECEIVING for key in ("new", "b\\", "\\", '"', ":")]
    for rows in (1, 7, 512):
        monkeypatch.setattr(key_count, "CHUNK_ROWS", rows)
        check(batch, run(sql_typer, batch, SCHEMA))


@settings(deadline=None, max_examples=40)
@given(
    batch=st.lists(
        st.lists(st.tuples(st.sampled_from([*KEYS, "b\\"]), st.sampled_from(TEXTS + DECEIVING)), max_size=4),
        min_size=1,
        max_size=20,
    ),
    rows=st.integers(1, 8),
    blank=st.sampled_from(["", " ", "\t", "  "]),
)
def test_any_batch_keeps_every_value_when_keys_are_counted(
    sql_typer: Typer, batch: list[list[tuple[str, str]]], rows: int, blank: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_count, "is_promising", lambda *_: True)
        patch.setattr(key_count, "CHUNK_ROWS", rows)
        lines = pa.array([line_with(members, blank) for members in batch], pa.string())
        check(batch, sql_typer.type_lines(lines, pa.array([77] * len(batch), pa.int64()), SCHEMA))


@settings(deadline=None, max_examples=8)
@given(batch=st.lists(MEMBERS, min_size=1, max_size=30), size=st.integers(1, 200), rows=st.integers(1, 9))
def test_a_batch_typed_in_pieces_keeps_every_value(
    typer: Typer, batch: list[list[tuple[str, str]]], size: int, rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typed, "_PIECE_BYTES", size)
        patch.setattr(typed, "_PIECE_ROWS", rows)
        check(batch, run(typer, batch, TableSchema()))


@pytest.mark.parametrize("broken", ["", "{", "{}{}", '{"i":1} x'])
def test_a_line_that_duckdb_refuses_is_rejected_alone(typer: Typer, broken: str) -> None:
    texts = ['{"i":1}', broken, '{"i":2}']
    result = typer.type_lines(pa.array(texts, pa.string()), pa.array([77] * 3, pa.int64()), SCHEMA)
    assert [one.row for one in result.rejected] == [1]
    assert result.table["i"].to_pylist() == [1, 2]


def test_a_row_with_too_many_keys_is_rejected_alone_and_at_once(typer: Typer) -> None:
    wide = line_of([(f"k{n}", "1") for n in range(typed.MAX_KEYS + 1)])
    most = line_of([(f"k{n}", "1") for n in range(typed.MAX_KEYS)])
    lines = pa.array(['{"i":1}', wide, most], pa.string())
    result = typer.type_lines(lines, pa.array([77] * 3, pa.int64()), SCHEMA)
    assert [(one.row, one.reason) for one in result.rejected] == [
        (1, "too_many_columns: a row may have 2048")
    ]
    assert result.table.num_rows == 2
    assert len(result.schema.columns) == MAX_COLUMNS
    overflow = json.loads(result.table["_overflow"][1].as_py())
    assert len(overflow) + MAX_COLUMNS - 6 == typed.MAX_KEYS


def test_lines_of_known_keys_are_parsed_once(sql_typer: Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [[("i", str(n)), ("s", '"a: \\"b\\": c"'), ("j", '{"k":[{"l":"m"}]}')] for n in range(2_000)]
    odd = [[("i", "1"), ("s", '"x"'), ("s", '"y"')]]
    asked: list[int] = []
    query = Typer._query

    def recording(self: Typer, lines: pa.Table, sql: str, *rest: Any) -> pa.Table:
        if sql == typing_sql.key_numbers():
            asked.append(lines.num_rows)
        return query(self, lines, sql, *rest)

    monkeypatch.setattr(Typer, "_query", recording)
    check(plain, run(sql_typer, plain, SCHEMA))
    assert asked == []
    check(plain + odd, run(sql_typer, plain + odd, SCHEMA))
    assert 0 < asked[0] <= key_count.CHUNK_ROWS


def test_every_hostile_value_alone_as_a_first_value(typer: Typer) -> None:
    for text in TEXTS:
        batch = [[("k", text)]]
        check(batch, run(typer, batch, TableSchema()))


@settings(deadline=None, max_examples=15)
@given(batch=st.lists(MEMBERS, min_size=1, max_size=30), known=st.booleans())
@example(batch=[[("i", "1.0")], [("i", "9007199254740993"), ("b", "0")]], known=True)
def test_any_batch_keeps_every_value(typer: Typer, batch: list[list[tuple[str, str]]], known: bool) -> None:
    check(batch, run(typer, batch, SCHEMA if known else TableSchema()))


@settings(deadline=None, max_examples=6)
@given(first=st.lists(MEMBERS, min_size=1, max_size=8), second=st.lists(MEMBERS, min_size=1, max_size=8))
def test_a_later_batch_keeps_the_columns_of_the_first(
    typer: Typer, first: list[list[tuple[str, str]]], second: list[list[tuple[str, str]]]
) -> None:
    before = run(typer, first, TableSchema())
    after = run(typer, second, before.schema)
    check(second, after)
    assert [column.name for column in after.schema.columns][: len(before.schema.columns)] == [
        column.name for column in before.schema.columns
    ]
    assert set(before.schema.physical()) <= set(after.schema.physical())
