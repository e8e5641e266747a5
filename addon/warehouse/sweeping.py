"""Deletes the files of one table's folder that no version needs any more, when there may be some."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addon.models.objects import ObjectStore
    from addon.warehouse.files import TableState
    from addon.warehouse.history import History

_EVERY_S = 3600.0


class Sweeping:
    """What is known of a table's superfluous files; not thread-safe."""

    def __init__(self, objects: ObjectStore, prefix: str, history: History) -> None:
        """Take the table's folder in the store, and what knows its older versions."""
        self._objects = objects
        self._prefix = prefix
        self._history = history
        self._swept_at: float | None = None
        self._leftovers = True

    def note_replaced(self) -> None:
        """Note that there may be files that the newest version does not name."""
        self._leftovers = True

    def is_due(self, keep_s: float, now: float) -> bool:
        """Tell whether a sweep may find something, without asking the store."""
        if self._swept_at is None:
            return True
        return self._leftovers and now - self._swept_at >= min(keep_s / 4, _EVERY_S)

    def sweep(self, newest: TableState | None, keep_s: float, now: float) -> int:
        """Delete the files that no version of the last ``keep_s`` seconds and no pin names; return how many.

        ``now`` is Unix seconds. A file that never was in the table goes when it is that old; all do where
        there is no table.
        """
        found = {
            info.key.removeprefix(f"{self._prefix}/"): info.modified
            for info in self._objects.list(self._prefix)
            if info.key.endswith(".parquet") and not info.key.startswith(f"{self._prefix}/_delta_log")
        }
        if newest is None:
            gone, active = [name for name, written in found.items() if written < now - keep_s], set[str]()
        else:
            gone = list(self._history.unneeded(found, newest, now - keep_s))
            active = set(newest.files.names.to_pylist())
        self._objects.delete(f"{self._prefix}/{name}" for name in gone)
        self._history.forget(int((now - keep_s) * 1000))
        self._swept_at = now
        self._leftovers = bool(found.keys() - active - set(gone))
        return len(gone)
