"""A result that an analysis computed itself: rows in batches, in the order of their contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Batches:
    """Rows with the output's columns, in its order; to be read once, before anything else is computed.

    Attributes:
        rows: computed as they are read, so that they never are in memory together.
    """

    rows: Iterator[pa.RecordBatch]


#: What holds an output: a relation of the engine, or batches.
Made: TypeAlias = str | Batches
