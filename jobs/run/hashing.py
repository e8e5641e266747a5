"""Hashes that do not depend on the engine: of a result's rows, and of an input's bytes.

Of an output, each column has a digest of its own, so rows may come in batches of any size. The hash of a
result is the SHA-256 over its outputs by name: the name, the number of rows, and each column's name and
digest. A column's digest is a SHA-256 over one byte per row that is 1 for NULL (left out where no row is),
and one over the values, NULL counting as 0 or as the empty text: integers and booleans as 64-bit
little-endian numbers, texts as their lengths in bytes (32-bit, in a digest of their own) and their UTF-8
bytes, doubles by `nine_digits`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_CHUNK = 1 << 20
#: What is left where a sum of doubles cancels out is not told from 0: credits, shares and scores are larger.
_NOTHING = 1e-12
_TWELVE, _NINE = 10**12, 10**9
#: Room for the decimal exponent of any double beside the digits.
_EXPONENTS, _BIAS = 1024, 400
_NOT_A_NUMBER, _INFINITE = -1, -2

Integers: TypeAlias = npt.NDArray[np.int64]
Doubles: TypeAlias = npt.NDArray[np.float64]


def hash_files(files: Sequence[Path]) -> str:
    """SHA-256 over the bytes of the files in the order given."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_CHUNK):
                digest.update(block)
    return digest.hexdigest()


class OutputHash:
    """The hash of one output whose rows come in the order of its unique key."""

    def __init__(self, columns: Sequence[str]) -> None:
        """Begin with no rows."""
        self._rows = 0
        self._columns = {name: _ColumnHash() for name in columns}

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Take the next rows."""
        for name, digest in self._columns.items():
            column = batch.column(name)
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else (column,):
                digest.update(self._rows, chunk)
        self._rows += batch.num_rows

    def parts(self) -> Iterable[bytes]:
        """What goes into the result's hash."""
        yield f"{self._rows}\0".encode()
        for name, digest in self._columns.items():
            yield f"{name}\0".encode() + digest.digest()


class _ColumnHash:
    def __init__(self) -> None:
        self._nulls: hashlib._Hash | None = None
        self._values, self._lengths = hashlib.sha256(), hashlib.sha256()

    def update(self, before: int, values: pa.Array) -> None:
        if values.null_count and self._nulls is None:
            self._nulls = hashlib.sha256(bytes(before))
        if self._nulls is not None:
            self._nulls.update(pc.is_null(values).cast(pa.uint8()).to_numpy(zero_copy_only=False))
        if pa.types.is_floating(values.type):
            doubles = pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False)
            self._values.update(nine_digits(doubles).tobytes())
        elif pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
            numbers = values.cast(pa.int64())
            self._values.update(pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False))
        else:
            self._update_texts(pc.fill_null(values.cast(pa.large_string()), ""))

    def _update_texts(self, texts: pa.Array) -> None:
        """The bytes of all texts, one after the other, straight from the buffer."""
        if not len(texts):
            return
        _, offsets, data = texts.buffers()
        ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        self._lengths.update(np.diff(ends).astype("<i4").tobytes())
        if data is not None:
            self._values.update(memoryview(data)[ends[0] : ends[-1]])

    def digest(self) -> bytes:
        nulls = self._nulls.digest() if self._nulls is not None else b""
        return nulls + self._values.digest() + self._lengths.digest()


def hash_outputs(outputs: Mapping[str, OutputHash]) -> str:
    """The hash of a result."""
    digest = hashlib.sha256()
    for name in sorted(outputs):
        digest.update(f"{name}\0".encode())
        for part in outputs[name].parts():
            digest.update(part)
    return digest.hexdigest()


def hash_tables(tables: Mapping[str, tuple[pa.Table, Sequence[str]]]) -> str:
    """The hash of result tables, each with the columns of its unique key.

    Rows are taken in key order and columns in the table's order, so neither the engine nor the order of
    the file matters.
    """
    hashes = {}
    for name, (table, key) in tables.items():
        hashes[name] = OutputHash(table.column_names)
        hashes[name].update(in_key_order(table, key))
    return hash_outputs(hashes)


def in_key_order(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """The rows by their unique key."""
    return table.sort_by([(column, "ascending") for column in key]) if key else table


def nine_digits(values: Doubles) -> Integers:
    """Doubles by their first nine significant digits and their decimal exponent, as one integer each.

    They are rounded twice: to twelve digits, which takes away the last-bit noise that summing in another
    order leaves, then to nine, which so never has to decide a tie like 0.1234567895 on noise. What remains is
    a number within that noise (about 1e-15 of it) of a twelve-digit tie right beside a nine-digit one: a
    chance of about 1e-7 for each double that differs between the engines at all. Integers add up exactly on
    both, so few do. Two such runs have different hashes, never equal ones for different results.
    """
    size = np.abs(values)
    # Shares, ranks and ages are often whole or repeat; what is 0 or no finite number is set apart.
    plain = (size >= _NOTHING) & (size < np.inf)
    found = np.zeros(len(values), "<i8")
    found[np.isnan(values)] = _NOT_A_NUMBER
    infinite = np.isinf(values)
    found[infinite] = np.where(values[infinite] > 0, -_INFINITE, _INFINITE)
    if plain.all():
        found = _digits(size)
        found[values < 0] *= -1
        return found
    found[plain] = _digits(size[plain]) * np.where(values[plain] < 0, -1, 1)
    return found


def _digits(size: Doubles) -> Integers:
    """Of finite numbers above 0: nine digits, times room for the exponent of the first one, plus it."""
    exponents = np.floor(np.log10(size)).astype(np.int64)
    scaled = _scaled(size, exponents)
    # A logarithm may be off by one beside a power of ten; the scaled number tells.
    wrong = (scaled >= _TWELVE) | (scaled < _TWELVE // 10)
    if wrong.any():
        exponents[wrong] += np.where(scaled[wrong] >= _TWELVE, 1, -1)
        scaled[wrong] = _scaled(size[wrong], exponents[wrong])
    nine: Integers = np.rint(np.rint(scaled) / (_TWELVE // _NINE)).astype(np.int64)
    rounded_up = nine >= _NINE
    nine[rounded_up] = _NINE // 10
    exponents[rounded_up] += 1
    nine *= _EXPONENTS
    nine += exponents
    nine += _BIAS
    return nine


#: Powers of ten as Python reads them, the nearest doubles; those up to 22 are exact.
_POWERS = np.array([float(f"1e{power}") for power in range(309)])


def _scaled(size: Doubles, exponents: Integers) -> Doubles:
    """With twelve digits before the point."""
    places = 11 - exponents
    up = _POWERS[np.maximum(places, 0)]
    down = _POWERS[np.maximum(-places, 0)]
    scaled: Doubles = size * up / down
    return scaled
