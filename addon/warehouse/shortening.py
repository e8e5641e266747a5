"""Keeps a Delta log short: its length costs every commit time, since delta-rs lists it twice for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addon.models.objects import ObjectStore

KEEP_ENTRIES = 256
"""Versions that the log goes back at most, whatever their age; who holds an older one reads anew."""
_DIGITS = 20


def shorten(objects: ObjectStore, log_prefix: str, checkpoint: int) -> None:
    """Delete the entries and checkpoints from before the newest ``KEEP_ENTRIES`` versions.

    Args:
        objects: The store of the table.
        log_prefix: The log's folder in it.
        checkpoint: The newest checkpoint's version; it is durable, and the history has what came before.
    """
    first = checkpoint - KEEP_ENTRIES
    keys = [info.key for info in objects.list(log_prefix)]  # in the order of versions: the oldest goes first
    old = [key for key in keys if (version := _version_of(key)) is not None and version < first]
    if old:
        objects.delete(old)


def _version_of(key: str) -> int | None:
    """Return the version of a log entry or a checkpoint, None for any other object of the log."""
    number, _, kind = key.rpartition("/")[2].partition(".")
    if len(number) != _DIGITS or not number.isdigit():
        return None
    return int(number) if kind == "json" or kind.startswith("checkpoint.") else None
