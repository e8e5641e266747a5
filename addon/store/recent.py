"""Look-ups that hot paths repeat, kept for a moment; a change made by this process is seen at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from platform_core.base.clock import Clock

Found = TypeVar("Found")
KEEP_S = 1.0
"""How long another process may take to notice a change."""
_MOST = 10_000


class Recent(Generic[Found]):
    """The answers of the last second by key. Threads may share it."""

    def __init__(self, clock: Clock, keep_s: float = KEEP_S) -> None:
        """Keep answers for ``keep_s`` seconds."""
        self._clock = clock
        self._keep_s = keep_s
        self._known: dict[Hashable, tuple[float, Found]] = {}
        self._changes = 0

    def get(self, key: Hashable, look_up: Callable[[], Found]) -> Found:
        """Return the answer for ``key``, from ``look_up`` when it is not known or no longer fresh."""
        known = self._fresh(key)
        return self.look_up(key, look_up) if known is None else known[1]

    def known(self, key: Hashable) -> Found | None:
        """Return the answer for ``key`` when it is known and fresh, without asking anybody."""
        known = self._fresh(key)
        return None if known is None else known[1]

    def _fresh(self, key: Hashable) -> tuple[float, Found] | None:
        known = self._known.get(key)
        if known is not None and 0 <= self._clock.now() - known[0] < self._keep_s:
            return known
        return None

    def look_up(self, key: Hashable, look_up: Callable[[], Found]) -> Found:
        """Return the answer of ``look_up``, and keep it.

        One whose look-up began before :meth:`forget` is returned, but not kept: it may be out of date.
        """
        now = self._clock.now()
        changes = self._changes
        found = look_up()
        if changes == self._changes:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = (now, found)
        return found

    def forget(self) -> None:
        """Look everything up anew; call it after the change is committed."""
        self._changes += 1
        self._known.clear()
