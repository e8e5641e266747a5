"""Stored results: one msgpack.gz file per job, and the other forms that are made from it on the way out."""

from __future__ import annotations

import csv
import io
import math
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import msgpack
import orjson
from isal import isal_zlib

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_CHUNK = 256 << 10
_GZIP = 31
_MAX_ROW = 1 << 30

MEDIA_TYPES = {
    "msgpack": "application/x-msgpack",
    "msgpack.gz": "application/gzip",
    "json": "application/json",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "arrow": "application/vnd.apache.arrow.stream",
}


def result_file(folder: Path, account_id: int, job_id: int, epoch: int) -> Path:
    """Return where an execution's result is stored; a later execution never touches an earlier one's file."""
    return folder / str(account_id) / f"{job_id}.{epoch}.msgpack.gz"


@contextmanager
def writing_result(path: Path) -> Iterator[IO[bytes]]:
    """Open a result's file; it has its name only when the block has ended well."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def one_row(row: Sequence[Any]) -> bytes:
    """Return a stored result of a single row."""
    return isal_zlib.compress(msgpack.packb(list(row)), wbits=_GZIP)


def unpacked(source: Path | bytes) -> Iterator[bytes]:
    """Yield the msgpack bytes of a stored result, decompressed."""
    inflate = isal_zlib.decompressobj(_GZIP)
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield inflate.decompress(chunk)
    yield inflate.flush()


def rows(source: Path | bytes) -> Iterator[list[Any]]:
    """Yield the rows of a stored result."""
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=_MAX_ROW)
    for chunk in unpacked(source):
        unpacker.feed(chunk)
        yield from unpacker


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they go out as Trino writes them, as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def json_row(row: Sequence[Any]) -> bytes:
    """Return one row as a JSON array."""
    return orjson.dumps([_finite(value) for value in row])


def _json(source: Path | bytes, _names: Sequence[str], *, header: bool) -> Iterator[bytes]:  # noqa: ARG001  (JSON rows have no header)
    piece = bytearray()
    for row in rows(source):
        piece += json_row(row) + b"\n"
        if len(piece) > _CHUNK:  # a piece is a hop between threads and a write: one a row would take minutes
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def _separated(delimiter: str) -> Callable[..., Iterator[bytes]]:
    def write(source: Path | bytes, names: Sequence[str], *, header: bool) -> Iterator[bytes]:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        if header:
            writer.writerow(names)
        for row in rows(source):
            writer.writerow([_plain(value) for value in row])
            if text.tell() > _CHUNK:
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
        yield text.getvalue().encode()

    return write


def _msgpack(source: Path | bytes, _names: Sequence[str], *, header: bool) -> Iterator[bytes]:  # noqa: ARG001  (msgpack rows have no header)
    return unpacked(source)


_FORMS: dict[str, Callable[..., Iterator[bytes]]] = {
    "msgpack": _msgpack,
    "json": _json,
    "csv": _separated(","),
    "tsv": _separated("\t"),
}


def rendered(source: Path | bytes, form: str, names: Sequence[str], *, header: bool) -> Iterator[bytes]:
    """Yield a stored result as msgpack, json (an array a line), csv or tsv; blocking, so iterate in a thread.

    Raises:
        InvalidInput: the form is not known.
    """
    writer = _FORMS.get(form)
    if writer is None:
        raise InvalidInput(
            f"The result format {form[:40]!r} is not known.", hint=f"Use one of {', '.join(MEDIA_TYPES)}."
        )
    return writer(source, names, header=header)
