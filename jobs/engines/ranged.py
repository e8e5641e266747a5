"""Parquet over HTTP, a range of bytes at a time: what runs in Spark's executors to read an object store.

Spark carries this module to the executors by value, so it needs nothing there but Python and pyarrow, and no
credentials: each address is signed for one file and for a limited time. That makes the addresses secrets;
no error and no log may quote one, only the file's name.
"""

from __future__ import annotations

import io
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 65_536
SHIPPED = "shipped"
_TRIES = 5
_TIMEOUT_S = 60.0
_PAUSE_S = 0.2
_CHUNK = 1 << 20
_SERVER_ERRORS = 500
_BUSY = 429


@dataclass(frozen=True)
class Part:
    """Every `of`-th row group of a file, from number `index` on. `link` is an address or a local path."""

    name: str
    size: int
    link: str
    index: int = 0
    of: int = 1


class RangedFile(io.RawIOBase):
    """A file of a known size behind an address, read by ranges; tries again what may pass."""

    def __init__(self, name: str, size: int, link: str) -> None:
        """Ask for nothing yet."""
        self._name, self._size, self._link, self._place = name, size, link, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Return the place of the next read."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the place of the next read."""
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, begin + offset)
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes in one request."""
        end = self._size if size < 0 else min(self._size, self._place + size)
        if end <= self._place:
            return b""
        data = fetch(self._name, self._link, (self._place, end))
        self._place = end
        return data

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def fetch(name: str, link: str, span: tuple[int, int]) -> bytes:
    """Return the bytes from `span[0]` up to `span[1]` of what is behind an address.

    Raises:
        OSError: it cannot be had; the text names the file, never the address.
    """
    request = urllib.request.Request(link, headers={"Range": f"bytes={span[0]}-{span[1] - 1}"})  # noqa: S310 - the document's links are checked
    failure = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S * 2**attempt)  # the server says nothing of when it will be better
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - likewise
                data: bytes = answer.read()
                if answer.status == 200 and len(data) > span[1] - span[0]:  # noqa: PLR2004 - a server without ranges
                    data = data[span[0] : span[1]]
            if len(data) == span[1] - span[0]:
                return data
            failure = f"{len(data)} of {span[1] - span[0]} bytes came"
        except urllib.error.HTTPError as error:
            failure = f"the object store answers {error.code}"
            error.close()
            if error.code < _SERVER_ERRORS and error.code != _BUSY:
                break
        except (OSError, HTTPException) as error:
            failure = f"the object store cannot be reached ({type(error).__name__})"
    raise OSError(f"{name}: {failure}")


def download(name: str, size: int, link: str, target: IO[bytes]) -> None:
    """Write a whole file.

    Raises:
        OSError: it cannot be had.
    """
    for start in range(0, size, 64 * _CHUNK):
        target.write(fetch(name, link, (start, min(size, start + 64 * _CHUNK))))


def rows(part: Part, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield a part's rows with exactly the schema's columns; those that the file lacks are NULL."""
    with open_part(part) as file:
        present = [name for name in schema.names if name in file.schema_arrow.names]
        groups = list(range(part.index, file.metadata.num_row_groups, part.of))
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=present) if groups else ():
            yield _shaped(batch, schema)


def whole(files: Sequence[tuple[str, int, str]], schema: pa.Schema) -> pa.Table:
    """Return the rows of files (name, bytes, link) in memory."""
    found = [batch for name, size, link in files for batch in rows(Part(name, size, link), schema)]
    return pa.Table.from_batches(found, schema)


def open_part(part: Part) -> pq.ParquetFile:
    """Open a part's file, over HTTP or on this machine."""
    address = urlsplit(part.link)
    if address.scheme in {"http", "https"}:
        return pq.ParquetFile(RangedFile(part.name, part.size, part.link), pre_buffer=True)
    return pq.ParquetFile(unquote(address.path))


def _shaped(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def parts(files: Sequence[tuple[str, int, str]], target: int) -> list[list[Part]]:
    """Cut files (name, bytes, link) into groups of about `target` bytes, large files by their row groups."""
    groups: list[list[Part]] = []
    room = 0
    for name, size, link in files:
        pieces = max(1, -(-size // target))
        if pieces > 1:
            groups += [[Part(name, size, link, index, pieces)] for index in range(pieces)]
            room = 0
        elif groups and size <= room:
            groups[-1].append(Part(name, size, link))
            room -= size
        else:
            groups.append([Part(name, size, link)])
            room = target - size
    return groups


def reader(
    groups: Sequence[Sequence[Part]], schema: pa.Schema, locate: Callable[[str], str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a task runs: numbers of groups in, those groups' rows out.

    A part whose link is `shipped:NAME` is a file that came with the job; `locate` says where it lies.
    """

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                for part in groups[number]:
                    kind, _, name = part.link.partition(":")
                    if kind == SHIPPED:
                        part = Part(part.name, part.size, locate(name), part.index, part.of)  # noqa: PLW2901
                    yield from rows(part, schema)

    return read
