"""The compiled kernel against the oracle and against SQL: what it takes is right, what is plain it takes."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.warehouse import typing_sql
from addon.warehouse.scan import lines as scan_module
from addon.warehouse.scan.compiler import SOURCES
from addon.warehouse.scan.library import Kernel, kernel
from addon.warehouse.scan.lines import Scanned, scan_lines
from addon.warehouse.schema import TableSchema
from addon.warehouse.typed import Typer
from jobs.native.compiler import FLAGS, compiler
from tests.sanitized import SANITIZE, STRICT, sanitized_run
from tests.scan_hostile import PLAIN, framed, log_bodies, mutations, scanned
from tests.typing_oracle import DECEIVING, KEYS, SCHEMA, TEXTS, fits_double, line_of, line_with

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,24})?([eE][-+]?[0-9]{1,3})?", fullmatch=True),
    st.integers(-(2**70), 2**70).map(str),
)


@pytest.fixture(scope="module")
def compiled() -> Kernel:
    if compiler() is None:
        pytest.fail("no C compiler: `make setup-test` installs gcc, or names the line that does")
    found = kernel()
    assert found is not None, "run: python -m addon.warehouse.scan"
    return found


def scan_texts(compiled: Kernel, texts: Sequence[str], schema: TableSchema = SCHEMA) -> Scanned:
    return scanned(compiled, [text.encode() for text in texts], schema)


@settings(deadline=None, max_examples=80)
@given(
    batch=st.lists(
        st.lists(
            st.tuples(st.sampled_from([*KEYS, "b\\", "time"]), st.sampled_from(TEXTS + DECEIVING)), max_size=5
        ),
        min_size=1,
        max_size=20,
    ),
    blank=st.sampled_from(["", " ", "\t", "  ", "\r\n"]),
)
def test_what_the_kernel_takes_is_what_the_lines_say(
    compiled: Kernel, batch: list[list[tuple[str, str]]], blank: str
) -> None:
    scan_texts(compiled, [line_with(members, blank) for members in batch])


@settings(deadline=None, max_examples=80)
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=20), escaped=st.booleans())
def test_every_text_is_taken_and_is_itself(compiled: Kernel, texts: list[str], escaped: bool) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    values = [json.dumps(text, ensure_ascii=escaped) for text in texts]
    found = scan_texts(compiled, [f'{{"s":{text},"j":[{text}]}}' for text in values])
    assert len(found.rows) == len(texts)
    assert found.values[4].to_pylist() == texts


def test_utf8_is_taken_exactly_where_it_is_well_formed(compiled: Kernel) -> None:
    tails = (b"", b"\x80", b"\x80\x80", b"\xbf\xbf", b"\x80\xc0", b"\xc0\x80")
    sequences = [
        bytes((lead, second)) + tail
        for lead in range(0x80, 0x100)
        for second in range(0x80, 0x100)
        for tail in tails
    ]
    lines = [b'{"s":"' + sequence + b'"}' for sequence in sequences]
    well_formed = [row for row, sequence in enumerate(sequences) if is_utf8(sequence)]
    assert scanned(compiled, lines, SCHEMA).rows.tolist() == well_formed


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@settings(deadline=None, max_examples=200)
@given(text=NUMBERS)
def test_a_double_is_the_nearest_one_or_is_left(compiled: Kernel, text: str) -> None:
    found = compiled.double(text.encode())
    if found is not None:
        assert fits_double(text)
        assert found == float(text)
        assert math.copysign(1, found) == math.copysign(1, float(text)) or text == "-0"
    else:
        assert abs(float(text)) >= 2**53


def test_long_decimals_are_rounded_by_all_their_digits(compiled: Kernel) -> None:
    rng = random.Random(19)  # noqa: S311 - test data; one in 2,000 of these is half-way but for its last bits
    for _ in range(30_000):
        text = f"{rng.randrange(10**18, 10**19)}e{rng.randint(-27, -4)}"
        assert compiled.double(text.encode()) == float(text), text


def test_halfway_cases_go_to_the_even_neighbour(compiled: Kernel) -> None:
    for exponent in range(-60, 52):
        for mantissa in (2**52 + 1, 2**52 + 2, 2**53 - 1, 2**53 - 2):
            value = math.ldexp(mantissa, exponent - 52)
            middle = (2 * mantissa + 1) * 2 ** max(0, exponent - 53)
            scale = max(0, 53 - exponent)
            text = f"{middle * 5**scale}e-{scale}"  # exactly between two doubles
            if len(text) < 400 and value < 2**53:
                assert compiled.double(text.encode()) == float(text), text


@pytest.mark.parametrize(
    "text", ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "1 ", "NaN", "0x1", "1_0", "--1"]
)
def test_what_is_no_json_number_is_no_double(compiled: Kernel, text: str) -> None:
    assert compiled.double(text.encode()) is None


def test_plain_lines_are_all_taken(compiled: Kernel) -> None:
    found = scanned(compiled, PLAIN, SCHEMA)
    assert len(found.rows) == len(PLAIN)
    widened = SCHEMA.widened(["i"])
    found = scan_texts(compiled, ['{"i":1}', '{"i":1.5}', '{"i":9007199254740993}'], widened)
    assert found.values[1].to_pylist() == [1.0, 1.5]


def test_times_that_are_none_are_left(compiled: Kernel) -> None:
    times = [typing_sql.MIN_TIME - 1, typing_sql.MIN_TIME, 0, typing_sql.MAX_TIME, typing_sql.MAX_TIME + 1]
    lines = [f'{{"time":{time}}}' for time in times] + ['{"time":null}', '{"time":1.0}', '{"time":"1"}']
    assert scan_texts(compiled, lines).rows.tolist() == [1, 2, 3]


def test_keys_are_found_in_any_order_and_among_many(compiled: Kernel) -> None:
    names = [f"column {n} \u00e9/~" for n in range(500)]
    schema = TableSchema().with_columns((name, "long") for name in names)
    rng = random.Random(5)  # noqa: S311 - test data
    lines = []
    for row in range(50):
        chosen = rng.sample(names, 40)
        lines.append(line_of([(name, str(row)) for name in chosen]).replace("\\u00e9", "\u00e9"))
    assert len(scan_texts(compiled, lines, schema).rows) == 50


def test_columns_whose_keys_need_escapes_are_never_matched(compiled: Kernel) -> None:
    columns = (*SCHEMA.columns, *TableSchema().with_columns([('a"b', "long"), ("c\\", "long")]).columns[1:])
    found = scan_texts(
        compiled, ['{"a"b":1}', '{"c\\":1}', '{"a\\"b":1}', '{"c\\\\":1}', "{}"], TableSchema(columns)
    )
    assert found.rows.tolist() == [4]


@pytest.mark.parametrize("sample", [1, 3, 512])
def test_texts_grow_beyond_what_the_first_lines_promise(
    compiled: Kernel, monkeypatch: pytest.MonkeyPatch, sample: int
) -> None:
    monkeypatch.setattr(scan_module, "_SAMPLE_LINES", sample)
    lines = [line_of([("s", json.dumps("x" * (n * n % 5_000))), ("j", "[1]")]) for n in range(700)]
    lines.insert(300, line_of([("s", json.dumps("long" * 200_000))]))
    assert len(scan_texts(compiled, lines).rows) == len(lines)


def test_a_text_that_appears_late_grows_in_few_steps(
    compiled: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    make_room = scan_module._Scan.make_room

    def counted(self: scan_module._Scan) -> None:
        steps.append(self.state.next)
        make_room(self)

    monkeypatch.setattr(scan_module._Scan, "make_room", counted)
    lines = ['{"i":1}'] * 6_000 + [line_of([("s", json.dumps("late" * 20)), ("j", "[1]")])] * 6_000
    assert len(scan_texts(compiled, lines).rows) == len(lines)
    assert len(steps) < 12


def test_a_part_of_an_array_is_scanned_as_the_part_alone(compiled: Kernel) -> None:
    texts = [line_of([("i", str(n)), ("s", f'"{n}"')]) for n in range(100)]
    whole, times = pa.array(texts, pa.string()), pa.array(np.arange(100))
    found = scan_lines(compiled, whole[30:70], times[30:70], SCHEMA.columns)
    assert found.rows.tolist() == list(range(40))
    assert found.values[0].to_pylist() == list(range(30, 70))
    assert found.values[1].to_pylist() == list(range(30, 70))
    nothing = scan_lines(compiled, whole[:0], times[:0], SCHEMA.columns)
    assert len(nothing.rows) == len(nothing.values[4]) == 0


def test_nesting_beyond_the_depth_is_left(compiled: Kernel) -> None:
    lines = [f'{{"j":{"[" * depth}{"]" * depth}}}' for depth in (63, 64, 65, 100_000)]
    assert scan_texts(compiled, lines).rows.tolist() == [0, 1]


@pytest.mark.parametrize("vectors", [True, False])
def test_mutated_lines_are_right_or_left(compiled: Kernel, tmp_path: Path, vectors: bool) -> None:
    if not vectors:
        compiled = Kernel(SOURCES.build(tmp_path / "scan.so", (*FLAGS, "-DSLUICE_SCAN_PLAIN", *STRICT)))
    seed = random.randrange(1 << 30)  # noqa: S311 - printed
    print(f"seed {seed}")  # noqa: T201 - to repeat it
    taken = sum(len(scanned(compiled, lines, SCHEMA).rows) for lines in mutations(seed, batches=40))
    assert taken > 1_000


def test_broken_log_bodies_are_cut_as_the_plain_loop_cuts_them(compiled: Kernel) -> None:
    seed = random.randrange(1 << 30)  # noqa: S311 - printed
    print(f"seed {seed}")  # noqa: T201 - to repeat it
    assert sum(framed(compiled, bodies) for bodies in log_bodies(seed, batches=3_000)) > 3_000


LINES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from([*KEYS, "time"]), st.sampled_from(TEXTS) | NUMBERS), max_size=5),
        st.sampled_from(["", " "]),
    ),
    min_size=1,
    max_size=40,
)


@pytest.fixture(scope="module")
def both_ways(compiled: Kernel) -> tuple[Typer, Typer]:
    assert compiled
    return Typer(compiled=True), Typer(compiled=False)


@settings(deadline=None, max_examples=8)
@given(batch=LINES, known=st.booleans())
def test_both_ways_give_the_same_table(
    both_ways: tuple[Typer, Typer], batch: list[tuple[list[tuple[str, str]], str]], known: bool
) -> None:
    lines = pa.array([line_with(members, blank) for members, blank in batch], pa.string())
    times = pa.array([77] * len(batch), pa.int64())
    with_kernel, with_sql = (
        typer.type_lines(lines, times, SCHEMA if known else TableSchema()) for typer in both_ways
    )
    assert with_kernel.schema == with_sql.schema
    assert with_kernel.rejected == with_sql.rejected
    assert with_kernel.table.combine_chunks().equals(with_sql.table.combine_chunks())


def test_escapes_in_json_are_printed_alike_both_ways(both_ways: tuple[Typer, Typer]) -> None:
    points = [*range(0xD800), *range(0xE000, 0x11000), 0x1F600, 0x10FFFF]
    lines = pa.array([f'{{"j":["x",{json.dumps(chr(point))}]}}' for point in points], pa.string())
    times = pa.array([77] * len(points), pa.int64())
    with_kernel, with_sql = (typer.type_lines(lines, times, SCHEMA).table for typer in both_ways)
    assert with_kernel["j"].equals(with_sql["j"])


def test_numbers_in_texts_are_printed_alike_both_ways(both_ways: tuple[Typer, Typer]) -> None:
    rng = random.Random(11)  # noqa: S311 - test data
    numbers = [repr(rng.random() * 10 ** rng.randint(-5, 16)) for _ in range(8_000)]
    numbers += [f"{rng.random() * 10 ** rng.randint(-3, 6):.{rng.randint(1, 17)}f}" for _ in range(8_000)]
    numbers += [f"{math.ldexp(1 + rng.randint(-2, 2) * 2**-52, rng.randint(-13, 49))}" for _ in range(4_000)]
    numbers += [one[:-1] + rng.choice("123456789") for one in numbers if len(one) > 16 and "e" not in one]
    lines = pa.array([f'{{"s":{one},"j":[{one}]}}' for one in numbers], pa.string())
    times = pa.array([77] * len(numbers), pa.int64())
    with_kernel, with_sql = (typer.type_lines(lines, times, SCHEMA).table for typer in both_ways)
    assert with_kernel["s"].equals(with_sql["s"])
    assert with_kernel["j"].equals(with_sql["j"])


@pytest.fixture(scope="module")
def checked(compiled: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel whose every access is checked."""
    assert compiled
    return SOURCES.build(tmp_path_factory.mktemp("checked") / "scan.so", (*FLAGS, *SANITIZE))


def test_hostile_lines_touch_no_byte_that_is_not_theirs(checked: Path) -> None:
    done = sanitized_run("tests.scan_hostile", str(checked), "--batches", "6")
    assert done.returncode == 0, done.stderr[-3_000:]
    assert "taken" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_very_many_hostile_lines_touch_no_byte_that_is_not_theirs(checked: Path) -> None:
    done = sanitized_run("tests.scan_hostile", str(checked), "--batches", "600")
    assert done.returncode == 0, done.stderr[-3_000:]


@pytest.mark.slow
def test_the_checked_kernel_does_see_a_byte_too_far(checked: Path) -> None:
    done = sanitized_run("tests.scan_hostile", str(checked), "--beyond")
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
