"""Hashes that do not depend on the engine: of a result's rows, and of an input's bytes."""

from __future__ import annotations

import hashlib
from decimal import ROUND_HALF_EVEN, Context
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_CHUNK = 1 << 20
#: Two roundings: the first takes away the last-bit noise that summing in another order leaves, so that the
#: second never has to decide a tie on noise.
_CLEAN = Context(prec=12, rounding=ROUND_HALF_EVEN)
_KEEP = Context(prec=9, rounding=ROUND_HALF_EVEN)


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

    Rows are taken in key order and columns in the table's order, so neither the engine nor the order of the
    file matters. Doubles count by their first nine significant digits.
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
        digest.update("\0".join(map(_nine_digits, column.to_pylist())).encode())
    else:
        texts = pc.fill_null(column.cast(pa.large_string()), "")
        digest.update(pc.binary_length(texts).to_numpy().astype("int64").tobytes())
        digest.update("".join(texts.to_pylist()).encode())


def _nine_digits(value: float | None) -> str:
    if value is None:
        return ""
    if value == 0:
        return "0"
    return str(_KEEP.create_decimal(_CLEAN.create_decimal_from_float(value)).normalize(_KEEP))
