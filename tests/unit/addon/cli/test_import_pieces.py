"""Files are cut between rows, always alike, and the pieces together are the file."""

from __future__ import annotations

import csv
import gzip
import io
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.cli.failures import Failure
from addon.cli.import_pieces import (
    Piece,
    TextPiece,
    form_of,
    opened,
    parquet_pieces,
    text_pieces,
)
from addon.cli.import_progress import line

if TYPE_CHECKING:
    from pathlib import Path


class _Dribble(io.RawIOBase):
    """A file of which each read gives only a few bytes, as a pipe may."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray) -> int:  # type: ignore[override]
        part = self._data.read(min(self._step, len(target)))
        target[: len(part)] = part
        return len(part)


def _cut(data: bytes, form: str, size: int, *, header: bool = False, step: int = 0) -> list[TextPiece]:
    source: IO[bytes] = io.BufferedReader(_Dribble(data, step)) if step else io.BytesIO(data)  # type: ignore[assignment]
    return list(text_pieces(source, io.BytesIO(data), form=form, header=header, size=size))


_lines = st.lists(st.binary(max_size=30).map(lambda text: text.replace(b"\n", b"")), max_size=20)


@settings(deadline=None)
@given(_lines, st.booleans(), st.integers(1, 60), st.integers(1, 7))
def test_lines_stay_whole_and_in_order_however_they_are_read(
    lines: list[bytes], ended: bool, size: int, step: int
) -> None:
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    pieces = _cut(data, "ndjson", size)
    assert pieces == [
        TextPiece(one.name, one.first_line, two.span, one.rows)
        for one, two in zip(_cut(data, "ndjson", size, step=step), pieces, strict=True)
    ]
    kept = [(piece.first_line, piece.rows) for piece in pieces]
    rest = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for first, rows in kept:
        whole = rows.removesuffix(b"\n").split(b"\n")
        assert rest[first - 1 : first - 1 + len(whole)] == whole
        assert len(rows) <= size or rows.count(b"\n") <= 1
    told = b"".join(rows for _, rows in kept)
    assert [text for text in told.split(b"\n") if text.strip()] == [text for text in rest if text.strip()]
    assert len({piece.name for piece in pieces}) == len(pieces)


_cell = st.text(st.characters(codec="ascii", exclude_characters="\x00\r"), max_size=6)


def _csv(rows: list[tuple[str, str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


@settings(deadline=None)
@given(st.lists(st.tuples(_cell, _cell), min_size=1, max_size=12), st.integers(1, 40), st.integers(1, 7))
def test_csv_records_stay_whole_and_each_piece_has_the_header(
    rows: list[tuple[str, str]], size: int, step: int
) -> None:
    data = _csv([("first\nname", "b"), *rows])
    pieces = _cut(data, "csv", size, header=True, step=step)
    found: list[list[str]] = []
    for piece in pieces:
        read = list(csv.reader(io.StringIO(piece.body().decode(), newline="")))
        assert read[0] == ["first\nname", "b"]
        found += read[1:]
        before = data.split(b"\n")[: piece.first_line + 1]
        assert piece.rows.split(b"\n")[0] == data.split(b"\n")[len(before)]
    assert [row for row in found if row] == [list(row) for row in rows]


@settings(deadline=None)
@given(st.lists(st.tuples(_cell, _cell), min_size=2, max_size=12))
def test_halves_are_the_piece(rows: list[tuple[str, str]]) -> None:
    (piece,) = _cut(_csv([("a", "b"), *rows]), "csv", 1 << 20, header=True)
    halves = piece.halves()
    assert halves is not None
    left, right = halves
    assert isinstance(left, TextPiece)
    assert isinstance(right, TextPiece)
    assert left.rows + right.rows == piece.rows
    assert (left.header, right.header) == (piece.header, piece.header)
    assert right.first_line == piece.first_line + left.rows.count(b"\n")
    assert len({piece.name, left.name, right.name}) == 3


def test_one_row_has_no_halves() -> None:
    (piece,) = _cut(b'{"a":1}\n', "ndjson", 1)
    assert piece.halves() is None
    (piece,) = _cut(b'a\n"x\ny"\n', "csv", 1, header=True)
    assert piece.halves() is None


def test_a_row_without_end_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(Failure, match="line 3 is longer than 16 MiB") as failed:
        _cut(b'a,b\n1,2\n"' + b"x\n" * (12 << 20), "csv", 1 << 20, header=True)
    assert "quote that does not close" in failed.value.why


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_compressed_files_are_cut_as_their_text_is(pack: object, tmp_path: Path) -> None:
    text = b"".join(b'{"n":%d}\n' % n for n in range(1_000))
    path = tmp_path / "x"
    path.write_bytes(pack(text))  # type: ignore[operator]
    with path.open("rb") as raw:
        pieces = list(text_pieces(opened(raw), raw, form="ndjson", header=False, size=1_000))
    assert [(piece.name, piece.rows) for piece in pieces] == [
        (piece.name, piece.rows) for piece in _cut(text, "ndjson", 1_000)
    ]
    assert sum(piece.span for piece in pieces) == path.stat().st_size


def test_parquet_pieces_are_named_by_the_file_and_hold_its_rows(tmp_path: Path) -> None:
    table = pa.table({"n": range(10_000), "text": [f"text {n}" for n in range(10_000)]})
    first, second, other = (tmp_path / name for name in ("a.parquet", "b.parquet", "c.parquet"))
    pq.write_table(table, first, row_group_size=3_000)
    second.write_bytes(first.read_bytes())
    changed = table.set_column(0, "n", pa.array([0, *range(1, 9_999), 77]))
    pq.write_table(changed, other, row_group_size=3_000)

    def cut(path: Path) -> list[Piece]:
        with path.open("rb") as file:
            return list(parquet_pieces(file, size=20_000))

    pieces = cut(first)
    assert len(pieces) > 4
    assert len({piece.name for piece in pieces}) == len(pieces)
    assert [piece.name for piece in cut(second)] == [piece.name for piece in pieces]
    differing = {piece.name for piece in cut(other)} - {piece.name for piece in pieces}
    assert 0 < len(differing) < len(pieces)
    bodies = [pq.read_table(io.BytesIO(piece.body())) for piece in pieces]
    assert pa.concat_tables(bodies) == table
    line_of = [1]
    for body in bodies:
        line_of.append(line_of[-1] + body.num_rows)
    assert [piece.first_line for piece in pieces] == line_of[:-1]
    halves = pieces[0].halves()
    assert halves is not None
    assert pa.concat_tables([pq.read_table(io.BytesIO(half.body())) for half in halves]) == bodies[0]


def test_formats_are_known_by_the_files_name() -> None:
    assert form_of("a.csv") == ("csv", False)
    assert form_of("b/A.TSV.gz") == ("csv", True)
    assert form_of("x.jsonl.zst") == form_of("x.json") == form_of("x.ndjson.gzip") == ("ndjson", False)
    assert form_of("x.parquet") == form_of("x.pq") == ("parquet", False)
    assert form_of("csv") is form_of("x.csv.bak") is form_of("-") is None


def test_a_line_of_progress_says_how_far_and_how_long() -> None:
    assert line(25_000_000, 100_000_000, 500_000, 10.0) == (
        "25.0 of 100.0 MB (25 %), 500,000 rows, 50,000 rows/s, 30 s left"
    )
    assert line(0, 100_000_000, 0, 0.0).endswith("0 rows/s, 0 s left")
    assert line(2_500_000, None, 10, 2.0) == "2.5 MB, 10 rows, 5 rows/s"
