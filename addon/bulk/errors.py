"""The file of a session's error records: gzip, one msgpack map each, as Treasure Data's clients read it.

A record that is a map is kept byte for byte with three members more: ``_error`` (why), ``_part`` and
``_record`` (its number within the part, from 1). Anything else is the member ``_raw`` of such a map.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import msgpack
from isal import igzip

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from addon.bulk.records import BadRecord

_FIXMAP, _MAP16, _MAP32 = 0x80, 0xDE, 0xDF
_LEVEL = 1


def with_reason(part: str, bad: BadRecord) -> bytes:
    """Return an error record as it is kept."""
    added: dict[str, Any] = {"_error": bad.reason, "_part": part, "_record": bad.number}
    tail = b"".join(msgpack.packb(item) for pair in added.items() for item in pair)
    members = _members(bad.data)
    if members is None or not _reads_as_text(bad.data):
        return bytes(msgpack.packb({"_raw": bad.data, **added}))
    count, head = members
    return b"\xdf" + (count + len(added)).to_bytes(4, "big") + bad.data[head:] + tail


def _members(data: bytes) -> tuple[int, int] | None:
    """Return how many members a map has and how long its head is; None when it is no map."""
    if data[0] & 0xF0 == _FIXMAP:
        return data[0] & 0x0F, 1
    if data[0] in {_MAP16, _MAP32}:
        head = 3 if data[0] == _MAP16 else 5
        return int.from_bytes(data[1:head], "big"), head
    return None


def _reads_as_text(data: bytes) -> bool:
    """Tell whether a client that takes msgpack's ``str`` for UTF-8 can read the record."""
    with suppress(ValueError, TypeError, RecursionError, msgpack.UnpackException):
        msgpack.unpackb(data, raw=False, strict_map_key=True)
        return True
    return False


class ErrorRecords:
    """Writes the file; nothing is there before the first record."""

    def __init__(self, path: Path) -> None:
        """Take where it will be; the folder must exist."""
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None
        self._gzip: Any = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close; what a failure left is removed."""
        if self._file is not None:
            self.finish()
        if kind is not None:
            self.path.unlink(missing_ok=True)

    def add(self, part: str, bad: BadRecord) -> None:
        """Keep a record."""
        if self._file is None:
            self._file = self.path.open("xb")
            self._gzip = igzip.GzipFile(  # type: ignore[no-untyped-call]  # the package has no types
                fileobj=self._file, mode="wb", compresslevel=_LEVEL, mtime=0
            )
        self._gzip.write(with_reason(part, bad))
        self.count += 1

    def finish(self) -> None:
        """Return when what was added is on the disk."""
        if self._file is not None:
            self._gzip.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


def no_error_records() -> bytes:
    """Return the file of a session without any: an empty gzip stream."""
    return igzip.compress(b"", _LEVEL)
