"""Shopping carts, in memory: one per visitor, the least recently used ones forgotten first."""

from __future__ import annotations

import threading
from collections import OrderedDict


class Carts:
    """The carts of the visitors of one web process."""

    def __init__(self, limit: int = 10_000) -> None:
        """Keep at most ``limit`` carts."""
        self._carts: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._limit = limit
        self._lock = threading.Lock()

    def add(self, visitor: str, slug: str, quantity: int) -> int:
        """Put ``quantity`` of a product in the visitor's cart; return how many pieces it now holds."""
        with self._lock:
            cart = self._carts.setdefault(visitor, {})
            self._carts.move_to_end(visitor)
            cart[slug] = cart.get(slug, 0) + quantity
            while len(self._carts) > self._limit:
                self._carts.popitem(last=False)
            return sum(cart.values())

    def take(self, visitor: str) -> dict[str, int]:
        """Empty the visitor's cart and return what was in it: product slug to quantity."""
        with self._lock:
            return self._carts.pop(visitor, {})
