"""Database and table names out of a log line's tag, made valid the way Treasure Data's own hook does it."""

from __future__ import annotations

import re

_OTHER = re.compile(r"[^a-z0-9_]")
_MIN, _MAX = 3, 128


def valid_name(text: str) -> str:
    """Return ``text`` as a name: lower case, others as ``_``, padded to 3, over 128 cut to 126 and ``__``.

    Treasure Data cuts at 255; our names end at 128 (``addon.models.tables.NAME``).
    """
    name = _OTHER.sub("_", text.lower()).ljust(_MIN, "_")
    return name if len(name) <= _MAX else name[: _MAX - 2] + "__"


def split_tag(tag: str) -> tuple[str, str] | None:
    """Return (database, table) of a tag ``db.table``, split at the first dot; None when there is no dot."""
    database, dot, table = tag.partition(".")
    return (valid_name(database), valid_name(table)) if dot else None
