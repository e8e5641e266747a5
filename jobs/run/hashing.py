"""Hashes that do not depend on the engine: of a result's rows, and of an input's bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_CHUNK = 1 << 20
#: What is left where a sum of doubles cancels out is not told from 0: credits, shares and scores are larger.
_NOTHING = 1e-12


def hash_files(files: Sequence[Path]) -> str:
    """SHA-256 over the bytes of the files in the order given."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_CHUNK):
                digest.update(block)
    return digest.hexdigest()


def hash_tables(tables: Mapping[str, tuple[pa.Table, Sequence[str]]]) -> str:
    """SHA-256 over result tables, each with the columns of its unique key.

    Rows are taken in key order and columns in the table's order, so neither the engine nor the order of
    the file matters. Doubles count by their first nine significant digits, rounded twice: to twelve
    digits, which takes away the last-bit noise that summing in another order leaves, then to nine, which
    so never has to decide a tie like 0.1234567895 on noise. What remains is a number within that noise
    (about 1e-15 of it) of a twelve-digit tie right beside a nine-digit one: a chance of about 1e-7 for
    each double that differs between the engines at all. Integers add up exactly on both, so few do. Two
    such runs have different hashes, never equal ones for different results.
    """
    digest = hashlib.sha256()
    for name in sorted(tables):
        table, key = tables[name]
        ordered = table.sort_by([(column, "ascending") for column in key]) if key else table
        digest.update(f"{name}\0{ordered.num_rows}\0".encode())
        for column in ordered.column_names:
            digest.update(f"{column}\0".encode())
            _hash_column(digest, ordered.column(column))
    return digest.hexdigest()


def _hash_column(digest: hashlib._Hash, column: pa.ChunkedArray) -> None:
    digest.update(pc.is_null(column).to_numpy().tobytes())
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        digest.update(pc.fill_null(column.cast(pa.int64()), 0).to_numpy().tobytes())
    elif pa.types.is_floating(column.type):
        digest.update("\0".join(_texts(column)).encode())
    else:
        texts = pc.fill_null(column.cast(pa.large_string()), "")
        digest.update(pc.binary_length(texts).to_numpy().astype("int64").tobytes())
        for chunk in texts.chunks:
            _hash_bytes(digest, chunk)


def _hash_bytes(digest: hashlib._Hash, chunk: pa.Array) -> None:
    """The bytes of all texts of a chunk, one after the other, straight from its buffer."""
    _, offsets, data = chunk.buffers()
    if data is not None and len(chunk):
        ends = memoryview(offsets).cast("q")
        digest.update(memoryview(data)[ends[chunk.offset] : ends[chunk.offset + len(chunk)]])


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Each double as text; equal ones, which are many in shares and ranks, are written once."""
    encoded = column.combine_chunks().dictionary_encode()
    written = [*map(_nine_digits, encoded.dictionary.to_pylist()), ""]
    return [written[place] for place in pc.fill_null(encoded.indices, -1).to_pylist()]


def _nine_digits(value: float) -> str:
    if abs(value) < _NOTHING:
        return "0"
    return f"{float(f'{value:.12g}') + 0.0:.9g}"
