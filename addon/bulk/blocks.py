"""A part's file as a stream of blocks of whole msgpack objects; memory does not grow with the part.

One reader serves the door, which only looks whether a part is whole, and the perform, which decodes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
from isal import isal_zlib

from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Ints = np.ndarray[Any, np.dtype[np.int64]]

MAX_INFLATED = 4 << 30
"""Bytes of one part after decompression."""
MAX_OBJECT = 16 << 20
"""Bytes of one record; it must be held as a whole, if only to be kept as an error record."""
_READ = 1 << 18
_INFLATE = 1 << 20
_MAGIC = b"\x1f\x8b"
_GZIP = 31
"""zlib's window bits for a gzip member with its header and CRC."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole objects: their bytes, where each starts (and the end), the number of the first, from 1."""

    data: bytes
    starts: Ints
    first: int

    def __len__(self) -> int:
        """Return how many objects there are."""
        return len(self.starts) - 1

    def object(self, index: int) -> bytes:
        """Return one object's bytes."""
        return self.data[int(self.starts[index]) : int(self.starts[index + 1])]


def inflated(path: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file of one or more gzip members, at most 1 MiB at a time.

    Raises:
        InvalidInput: not gzip, damaged, or cut short.
        TooLarge: over the limit.
    """
    total = 0
    engine: Any = None
    with path.open("rb") as file:
        while pending := file.read(_READ):
            while pending:
                engine = engine or _new_member(pending)
                piece = _step(engine, pending)
                total += len(piece)
                if total > MAX_INFLATED:
                    raise TooLarge(
                        f"The part decompresses to more than {MAX_INFLATED} bytes.",
                        hint="Split it into more parts.",
                    )
                if piece:
                    yield piece
                pending = engine.unused_data if engine.eof else engine.unconsumed_tail
                engine = None if engine.eof else engine
    if engine is not None:
        raise InvalidInput("The part's gzip stream is cut short.", hint="Upload the whole part again.")


def _new_member(pending: bytes) -> Any:
    if not pending.startswith(_MAGIC[: len(pending)]):
        raise _not_gzip()
    return isal_zlib.decompressobj(wbits=_GZIP)


def _step(engine: Any, pending: bytes) -> bytes:
    try:
        return bytes(engine.decompress(pending, _INFLATE))
    except isal_zlib.error as error:  # type: ignore[misc]  # the stub takes the class for an instance
        raise _not_gzip() from error


def _not_gzip() -> InvalidInput:
    return InvalidInput("The part is not valid gzip.", hint="Send msgpack maps, compressed by gzip.")


def blocks(path: Path) -> Iterator[Block]:
    """Yield the objects of a part, about 1 MiB of them at a time.

    Raises:
        InvalidInput: the file is no gzip stream of whole msgpack objects; the message names the record.
        TooLarge: over a limit.
    """
    reader = _Objects()
    for piece in inflated(path):
        block = reader.feed(piece)
        if len(block):
            yield block
    reader.finish()


def count_objects(path: Path) -> int:
    """Read a part to its end and return how many records it has; raises as :func:`blocks` does."""
    return sum(map(len, blocks(path)))


class _Objects:
    """Cuts a stream of bytes into whole msgpack objects."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(max_buffer_size=MAX_OBJECT + _INFLATE)
        self._rest = b""
        self._base = 0
        self._seen = 0

    def feed(self, piece: bytes) -> Block:
        """Return the objects that are whole now."""
        data = self._rest + piece if self._rest else piece
        ends = [self._base]
        try:
            self._unpacker.feed(piece)
            while True:
                self._unpacker.skip()
                ends.append(self._unpacker.tell())
        except msgpack.OutOfData:
            pass
        except (ValueError, RecursionError, msgpack.UnpackException) as error:
            raise InvalidInput(
                f"Record {self._seen + len(ends)} is not valid msgpack ({type(error).__name__}).",
                hint="Send msgpack maps, one a record.",
            ) from error
        starts = np.array(ends, np.int64) - self._base
        whole = int(starts[-1])
        self._rest = data[whole:]
        self._base = ends[-1]
        block = Block(data[:whole], starts, self._seen + 1)
        self._seen += len(block)
        if len(self._rest) > MAX_OBJECT:
            raise TooLarge(f"Record {self._seen + 1} has more than {MAX_OBJECT} bytes.", hint="Split it.")
        return block

    def finish(self) -> None:
        """Check that nothing is left over."""
        if self._rest:
            raise InvalidInput(f"Record {self._seen + 1} is cut short.", hint="Upload the whole part again.")
