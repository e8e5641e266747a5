"""Bounds how many tables keep their log in memory: thousands may be known, a few hundred are held open."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addon.warehouse.rewriting import OpenTable

MOST_HANDLES = 512


class Handles:
    """The tables in the order of their last use; the longest unused ones forget their log."""

    def __init__(self, most: int = MOST_HANDLES) -> None:
        """Take how many may be held open."""
        self._most = most
        self._lock = threading.Lock()
        self._used: OrderedDict[str, OpenTable] = OrderedDict()

    def use(self, prefix: str, table: OpenTable) -> None:
        """Note a use; let the log of another table go where there are too many."""
        with self._lock:
            self._used[prefix] = table
            self._used.move_to_end(prefix)
            old = self._used.popitem(last=False)[1] if len(self._used) > self._most else None
        if old is None:
            return
        if old.lock.acquire(blocking=False):
            try:
                old.log.forget()
            finally:
                old.lock.release()

    def __len__(self) -> int:
        """Return how many tables are held open."""
        return len(self._used)
