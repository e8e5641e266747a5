"""Column names: what a sender spelled, made safe for SQL the way Treasure Data does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

OVERFLOW = "_overflow"
"""The physical column of misfits, JSON text keyed by the sender's own spelling; never shown."""
DUPLICATES = "_duplicates"
"""The overflow's key for the earlier values of keys that were there twice."""
MAX_COLUMN_NAME = 128
_OTHER = re.compile(r"[^a-z0-9_]")


def column_name(original: str, taken: Container[str]) -> str:
    """Return a free column name for ``original``: lower case, others as ``_``, numbered on a clash."""
    name = _OTHER.sub("_", original.lower())[:MAX_COLUMN_NAME] or "_"
    free, number = name, 1
    while free in taken or free == OVERFLOW:
        number += 1
        suffix = f"_{number}"
        free = name[: MAX_COLUMN_NAME - len(suffix)] + suffix
    return free


def json_pointer(key: str) -> str:
    """Return the RFC 6901 pointer to a top-level key; unlike a path, no key is special in it."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def identifier(name: str) -> str:
    """Return ``name`` quoted as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return ``text`` quoted as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
