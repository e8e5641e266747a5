"""A pinned version of a warehouse table, as a document: the files that hold its rows, and its columns.

The warehouse writes it, both engines read it, so that they answer from the same snapshot. Nobody lists a
folder: a file that is not named is not read, however many lie beside it. Format 1, JSON:

    {"format": 1, "table": "shop.events", "version": 12,
     "columns": [{"name": "n", "type": "DOUBLE", "stored": [["n", "BIGINT"], ["n__double", "DOUBLE"]]}],
     "from": null, "to": null,
     "files": [{"name": "part-….parquet", "bytes": 4711, "link": "file:///…"}]}

A column is stored in one physical column or, after its type was widened, in several, oldest first. Rows whose
`time` is outside `from`..`to` (Unix seconds, both included) are not part of it. A link is a `file://`, `s3://`,
`https://` or `http://` address; an address that carries a signature is a secret.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jobs.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

FORMAT = 1
SUFFIX = ".snapshot.json"
TYPES = ("BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR")
_SCHEMES = ("file:///", "s3://", "https://", "http://")


@dataclass(frozen=True, slots=True)
class PinnedColumn:
    """A logical column, its type (one of `TYPES`), and the physical ones that hold it: (name, type)."""

    name: str
    type: str
    stored: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A Parquet file that is never written again: its name, its size in bytes, where it is read."""

    name: str
    size: int
    link: str = field(repr=False)
    """May be signed, which makes it a secret."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """One version of a table. `first` and `last` bound `time`; None where there is no bound."""

    table: str
    version: int | None
    columns: tuple[PinnedColumn, ...]
    files: tuple[PinnedFile, ...]
    first: int | None = None
    last: int | None = None

    @property
    def sha256(self) -> str:
        """Name the content: a file's name holds the beginning of its hash, and is never used twice."""
        files = sorted(f"{file.name} {file.size}" for file in self.files)
        return hashlib.sha256("\n".join([*files, f"{self.first} {self.last}"]).encode()).hexdigest()

    def only(self, wanted: Collection[str]) -> Pinned:
        """Return the table with those of its columns that are wanted.

        Where it has none of them it keeps all, so that an error can name them.
        """
        kept = tuple(column for column in self.columns if column.name in wanted)
        return replace(self, columns=kept or self.columns)

    @property
    def bounded(self) -> bool:
        """Whether some rows of the files are not part of it."""
        return self.first is not None or self.last is not None

    @property
    def physical(self) -> dict[str, str]:
        """The physical columns with their types, and the time that bounds are held against."""
        columns = {name: kind for column in self.columns for name, kind in column.stored}
        return columns | {"time": "BIGINT"} if self.bounded else columns

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "format": FORMAT,
            "table": self.table,
            "version": self.version,
            "columns": [
                {"name": one.name, "type": one.type, "stored": [list(part) for part in one.stored]}
                for one in self.columns
            ],
            "from": self.first,
            "to": self.last,
            "files": [{"name": one.name, "bytes": one.size, "link": one.link} for one in self.files],
        }


def read_pinned(path: Path) -> Pinned:
    """Read a document.

    Raises:
        InputError: it cannot be read, or is not one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise InputError(f"{path}: format {found['format']} is unknown; this version reads {FORMAT}")
        return Pinned(
            str(found["table"]),
            None if found["version"] is None else int(found["version"]),
            tuple(map(_column, found["columns"])),
            tuple(map(_file, found["files"])),
            _bound(found["from"]),
            _bound(found["to"]),
        )
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a pinned version of a table: {error!r}") from error


def is_readable(kind: str, stored: Sequence[tuple[str, str]]) -> bool:
    """Whether every engine reads the same from the stored parts: as they are, or integers as doubles."""
    return kind in TYPES and bool(stored) and all(
        part == kind or (part, kind) == ("BIGINT", "DOUBLE") for _, part in stored
    )  # fmt: skip


def _column(entry: dict[str, Any]) -> PinnedColumn:
    stored = tuple((str(name), str(kind)) for name, kind in entry["stored"])
    if not is_readable(entry["type"], stored):
        raise ValueError(f"the column {entry['name']} of type {entry['type']} from {stored}")
    return PinnedColumn(str(entry["name"]), entry["type"], stored)


def _file(entry: dict[str, Any]) -> PinnedFile:
    link = str(entry["link"])
    if not link.startswith(_SCHEMES):
        raise ValueError(f"the link of {entry['name']} is none of {', '.join(_SCHEMES)}")
    return PinnedFile(str(entry["name"]), int(entry["bytes"]), link)


def _bound(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError("a time bound is not a whole number")
    return value
