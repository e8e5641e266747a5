"""A file in pieces of a few megabytes: cut between rows, always alike, so that a piece has one name.

Memory is bounded by the piece, whatever the file's size. A piece that the server finds too large as JSON is
cut in halves, again always alike.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Protocol

from addon.cli.failures import Failure

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_BYTES = {"ndjson": 4 << 20, "csv": 2 << 20}
PARQUET_BYTES, PARQUET_ROWS = 4 << 20, 65_536
_LONGEST_ROW = 16 << 20
_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"


class Piece(Protocol):
    """A part of a file that is sent in one request."""

    @property
    def name(self) -> str:
        """Hash of what is in it and where it lies; equal for equal pieces only."""
        ...

    @property
    def first_line(self) -> int:
        """The line of the file with which the body begins; rows of a Parquet file count as lines."""
        ...

    @property
    def span(self) -> int:
        """How many bytes of the file, as it lies on the disk, it stands for; together they are the file."""
        ...

    def body(self) -> bytes:
        """Return what is sent."""
        ...

    def halves(self) -> tuple[Piece, Piece] | None:
        """Return its two halves, None when it is one row."""
        ...


def _named(*parts: object, body: bytes = b"") -> str:
    digest = hashlib.sha256("\0".join(map(str, parts)).encode())
    digest.update(b"\0")
    digest.update(body)
    return digest.hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Whole lines; in CSV whole records, with the file's header before them."""

    name: str
    first_line: int
    span: int
    rows: bytes
    header: bytes = b""
    quotes: bool = False

    def body(self) -> bytes:
        """Return the header and the rows."""
        return self.header + self.rows

    def halves(self) -> tuple[Piece, Piece] | None:
        """Cut near the middle."""
        middle = _last_end(self.rows, len(self.rows) // 2, quotes=self.quotes) or _first_end(
            self.rows, quotes=self.quotes
        )
        if not 0 < middle < len(self.rows):
            return None
        left, right = self.rows[:middle], self.rows[middle:]
        return (
            replace(self, name=f"{self.name}.0", rows=left),
            replace(self, name=f"{self.name}.1", rows=right, first_line=self.first_line + left.count(b"\n")),
        )


def _last_end(data: bytes, limit: int, *, quotes: bool) -> int:
    """Return where the last row that ends within ``limit`` bytes does; 0 when none does."""
    if not quotes:
        return data.rfind(b"\n", 0, limit) + 1
    inside = data.count(b'"', 0, limit) % 2
    while limit > 0:
        quote = data.rfind(b'"', 0, limit)
        if not inside and (at := data.rfind(b"\n", quote + 1, limit)) >= 0:
            return at + 1
        limit, inside = quote, 1 - inside  # from quote to quote: what lies between is all in or all out
    return 0


def _first_end(data: bytes, *, quotes: bool) -> int:
    """Return where the first row ends; 0 when it does not."""
    start = 0
    while quotes:
        quote, end = data.find(b'"', start), data.find(b"\n", start)
        if quote < 0 or 0 <= end < quote:
            break
        start = data.find(b'"', quote + 1) + 1
        if not start:
            return 0
    return data.find(b"\n", start) + 1


def text_pieces(
    source: IO[bytes], raw: IO[bytes], *, form: str, header: bool, size: int | None = None
) -> Iterator[TextPiece]:
    """Cut NDJSON or CSV. ``source`` is the text, ``raw`` the file below it, which may be compressed.

    Raises:
        Failure: a row is longer than 16 MiB, which mostly is a quote that does not close.
    """
    quotes, size = form == "csv", size or TEXT_BYTES[form]
    rest, offset, line, first = source.read(len(_BOM)).removeprefix(_BOM), 0, 1, b""
    more, told = True, 0
    while more:
        block = source.read(max(_BLOCK, size - len(rest)))
        more = bool(block)
        rest += block
        if header and not first and (found := _first_end(rest, quotes=quotes)):
            first, rest = rest[:found], rest[found:]
            line += first.count(b"\n")
        while rest and (first or not header):
            cut = _cut(rest, size, quotes=quotes, last=not more)
            if not cut:
                break
            rows, rest = rest[:cut], rest[cut:]
            if rows.strip():
                name = _named(form, offset, first.decode("latin-1"), body=rows)
                start = line - first.count(b"\n")
                before, told = told, _told(raw)
                yield TextPiece(name, start, told - before, rows, first, quotes)
            offset += len(rows)
            line += rows.count(b"\n")
        if len(rest) > _LONGEST_ROW:
            raise Failure(
                f"The row on line {line} is longer than {_LONGEST_ROW >> 20} MiB",
                "A quote that does not close looks like this, too." if quotes else "",
                "Mend that line; a row may have 1 MiB.",
            )


def _cut(data: bytes, size: int, *, quotes: bool, last: bool) -> int:
    """Return where a piece of at most ``size`` bytes ends, or its only row; 0 when more must be read.

    Only the data decide, not how much of it was read: the same file is always cut alike.
    """
    if len(data) < size:
        return len(data) if last else 0
    cut = _last_end(data, size, quotes=quotes) or _first_end(data, quotes=quotes)
    return len(data) if last and not cut else cut


def _told(raw: IO[bytes]) -> int:
    try:
        return raw.tell()
    except (OSError, ValueError):
        return 0


@dataclass(frozen=True, slots=True)
class ParquetPiece:
    """Some rows of a row group."""

    name: str
    first_line: int
    span: int
    rows: pa.Table

    def body(self) -> bytes:
        """Return the rows as a Parquet file of their own."""
        import pyarrow.parquet as pq  # noqa: PLC0415  # only those who send Parquet wait for it

        out = io.BytesIO()
        pq.write_table(self.rows, out, compression="zstd", compression_level=1)
        return out.getvalue()

    def halves(self) -> tuple[Piece, Piece] | None:
        """Cut in the middle."""
        middle = self.rows.num_rows // 2
        if not middle:
            return None
        right = replace(
            self, name=f"{self.name}.1", rows=self.rows.slice(middle), first_line=self.first_line + middle
        )
        return replace(self, name=f"{self.name}.0", rows=self.rows.slice(0, middle)), right


def parquet_pieces(file: IO[bytes], *, size: int = PARQUET_BYTES) -> Iterator[ParquetPiece]:
    """Cut a Parquet file; a piece is named by the bytes of its row group, as they lie in the file.

    Raises:
        Failure: it is no Parquet file.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise Failure("This is no Parquet file", str(error)[:300], "Say what it is with --format.") from error
    row = 1
    for number in range(parquet.metadata.num_row_groups):
        facts = parquet.metadata.row_group(number)
        if not facts.num_rows:
            continue
        start, end = _extent(facts)
        digest = _hash_of(file, start, end)
        count = max(1, min(PARQUET_ROWS, size * facts.num_rows // max(facts.total_byte_size, 1)))
        batches = parquet.iter_batches(batch_size=count, row_groups=[number], use_threads=False)
        for place, batch in enumerate(batches):
            name = _named("parquet", number, digest, place, count)
            span = (end - start) * batch.num_rows // facts.num_rows
            yield ParquetPiece(name, row, span, pa.Table.from_batches([batch]))
            row += batch.num_rows


def _extent(facts: Any) -> tuple[int, int]:
    """Return from where to where a row group lies in its file."""
    starts, ends = [], []
    for place in range(facts.num_columns):
        column = facts.column(place)
        first = column.dictionary_page_offset or column.data_page_offset
        starts.append(first)
        ends.append(first + column.total_compressed_size)
    return min(starts), max(ends)


def _hash_of(file: IO[bytes], start: int, end: int) -> str:
    digest = hashlib.sha256()
    position = file.tell()
    file.seek(start)
    while start < end and (block := file.read(min(_BLOCK, end - start))):
        digest.update(block)
        start += len(block)
    file.seek(position)
    return digest.hexdigest()


_EXTENSION = re.compile(
    r"\.(?P<form>csv|tsv|ndjson|jsonl|json|parquet|pq)(?:\.(?:gz|gzip|zst|zstd))?$", re.IGNORECASE
)
_FORMS = {"tsv": "csv", "jsonl": "ndjson", "json": "ndjson", "pq": "parquet"}


def form_of(name: str) -> tuple[str, bool] | None:
    """Return a file's format by its name, and whether tabs divide it; None when the name tells nothing."""
    found = _EXTENSION.search(name)
    if found is None:
        return None
    form = found["form"].lower()
    return _FORMS.get(form, form), form == "tsv"


def opened(raw: IO[bytes]) -> IO[bytes]:
    """Return the text of a file that may be gzip or zstd, known by its first bytes."""
    import gzip  # noqa: PLC0415

    import zstandard  # noqa: PLC0415

    peekable = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[type-var]
    start = peekable.peek(4)[:4]
    if start[:2] == b"\x1f\x8b":
        return io.BufferedReader(gzip.GzipFile(fileobj=peekable))
    if start == b"\x28\xb5\x2f\xfd":
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
            peekable, read_across_frames=True
        )
        return io.BufferedReader(reader)
    return peekable
