"""What is at work for an account in this process, so that it can be stopped before its data is deleted."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from platform_core.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_S = 60.0


class Activity:
    """Work by account; threads may share it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changed = threading.Condition()
        self._running: defaultdict[int, set[threading.Event]] = defaultdict(set)

    @contextmanager
    def working(self, account_id: int) -> Iterator[threading.Event]:
        """Register work until the block ends; it shall end soon once the event is set."""
        stop = threading.Event()
        with self._changed:
            self._running[account_id].add(stop)
        try:
            yield stop
        finally:
            with self._changed:
                self._running[account_id].discard(stop)
                if not self._running[account_id]:
                    del self._running[account_id]
                self._changed.notify_all()

    def stop(self, account_id: int) -> None:
        """Stop the account's work and return when all of it has ended.

        Raises:
            Unavailable: it does not end.
        """
        with self._changed:
            for event in self._running.get(account_id, ()):
                event.set()
            if not self._changed.wait_for(lambda: account_id not in self._running, _PATIENCE_S):
                raise Unavailable(
                    "A bulk import of the account does not stop.", hint="Retry after 60 seconds."
                )
