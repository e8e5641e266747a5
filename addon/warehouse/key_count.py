"""Whether the known columns account for every key of some JSON lines, by counting bytes instead of parsing.

Each key ends in ``":``, so a stretch of lines has at least as many of these as it has keys. A line whose
columns found ``p`` values, with ``n`` more such keys inside its nested values, has at least ``p + n`` of them
and exactly that many only when no key is unknown, there twice, or null. All terms are one-sided, so when the
sums over a stretch agree, they agree in every line. Where bytes could mislead (see ``_ends`` and
``_ambiguous``), or the sums differ, the stretch is not accounted for, and DuckDB's ``json_keys`` has to look:
never wrong, only slower.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

CHUNK_ROWS = 512
"""Lines of a stretch: few enough to stay in the processor's cache, and to lose little when one is odd."""
SAMPLE_ROWS = 64
_SAMPLE_CHARACTERS = 256 << 10
"""Looked at in the sample, at most: of long lines a few say enough."""
_ESCAPE = b"\\"
_COLON, _QUOTE, _BACKSLASH, _BLANK, _U = b':"\\ u'


def is_promising(lines: pa.ChunkedArray, keys: Collection[str]) -> bool:
    """Tell from a few lines whether counting is worth a try: known keys only, no nulls, plain escapes."""
    left = _SAMPLE_CHARACTERS
    for row in range(0, len(lines), max(1, len(lines) // SAMPLE_ROWS)):
        line = lines[row].as_py()
        left -= len(line)
        if left < 0:
            return row > 0
        if "\\\\" in line or "\\u" in line:
            return False
        try:
            members = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return False
        if not all(key in keys and value is not None for key, value in members.items()):
            return False
    return True


def accounted(lines: pa.ChunkedArray, present: Ints, nested: Sequence[pa.StringArray]) -> Flags:
    """Tell for each line whether it certainly has no key but those counted in ``present``.

    Args:
        lines: Valid JSON objects, one per element.
        present: How many of a line's keys have a column and a value that is not null.
        nested: The columns that hold JSON text, as DuckDB prints it, in the order of the lines.
    """
    rows = len(lines)
    if not rows:
        return np.zeros(0, bool)
    edges = np.append(np.arange(0, rows, CHUNK_ROWS), rows)
    missing: Ints = -np.add.reduceat(present, edges[:-1])
    misleading = np.zeros(len(missing), bool)
    array = lines.chunk(0) if lines.num_chunks == 1 else pa.concat_arrays(lines.chunks)
    for index, text in enumerate(_stretches(array, edges)):
        escaped = _ESCAPE in text.tobytes()
        keys, blank = _ends(text, escaped=escaped)
        missing[index] += keys
        misleading[index] = blank or (escaped and _ambiguous(text))
    for column in nested:
        # What is printed from lines that do not mislead has their escapes, and no blanks before colons.
        for index, text in enumerate(_stretches(column, edges)):
            missing[index] -= _ends(text, escaped=True)[0]
    return np.repeat((missing == 0) & ~misleading, np.diff(edges))


def _stretches(array: pa.StringArray, edges: Ints) -> Iterator[Bytes]:
    """Yield the bytes of the texts between each two edges."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset :]
    data = array.buffers()[2]
    text = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    for first, last in itertools.pairwise(offsets[edges].tolist()):
        yield text[first:last]


def _ends(text: Bytes, *, escaped: bool) -> tuple[int, bool]:
    """Return how many ``":`` there are but for escaped quotes, and whether a key may end in ``" :``."""
    colon = text[2:] == _COLON
    ends = text[1:-1] == _QUOTE
    ends &= colon
    if escaped:
        ends &= text[:-2] != _BACKSLASH
    blank = text[1:-1] <= _BLANK
    blank &= colon
    if not blank.any():
        return int(np.count_nonzero(ends)), False
    before = text[:-2][blank]
    return int(np.count_nonzero(ends)), bool(((before == _QUOTE) | (before <= _BLANK)).any())


def _ambiguous(text: Bytes) -> bool:
    """Tell whether a backslash is escaped, so that a quote after it is a real one, or a code point is."""
    after = text[1:][text[:-1] == _BACKSLASH]
    return bool(((after == _BACKSLASH) | (after == _U)).any())
