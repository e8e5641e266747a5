"""A bounded buffer of messages that counts what it loses.

Specification: messages leave in the order in which they came. Over the bound (messages or bytes) the oldest
are displaced, and each one is counted, with the time since when. At every moment
``received = taken + displaced + waiting``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Loss:
    """Messages lost and not yet announced; ``since`` in Unix seconds."""

    count: int = 0
    since: float = 0.0

    def add(self, count: int, at: float) -> None:
        """Count ``count`` more, lost at ``at``."""
        if count and (not self.count or at < self.since):
            self.since = at
        self.count += count

    def take(self) -> Loss:
        """Return what is to be announced and begin again at nothing."""
        taken = Loss(self.count, self.since)
        self.count = 0
        return taken


class CountingBuffer:
    """The buffer of one drain."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        """Hold at most ``max_messages`` of together ``max_bytes`` bytes."""
        self.max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[bytes] = deque()
        self.bytes = 0
        self.received = 0
        self.displaced = 0

    def __len__(self) -> int:
        """Messages waiting."""
        return len(self._messages)

    def push(self, messages: Sequence[bytes]) -> int:
        """Append messages; return how many were displaced by it."""
        self._messages.extend(messages)
        self.bytes += sum(map(len, messages))
        self.received += len(messages)
        return self._displace()

    def _displace(self) -> int:
        popleft = self._messages.popleft
        lost = 0
        while len(self._messages) > self.max_messages or self.bytes > self._max_bytes:
            self.bytes -= len(popleft())
            lost += 1
        self.displaced += lost
        return lost

    def resize(self, max_messages: int) -> int:
        """Change the bound; return how many were displaced by it."""
        self.max_messages = max_messages
        return self._displace()

    def take(self, max_bytes: int) -> list[bytes]:
        """Remove and return the oldest messages: up to ``max_bytes``, but at least one if there is any."""
        if self.bytes <= max_bytes:
            taken = list(self._messages)
            self._messages.clear()
            self.bytes = 0
            return taken
        popleft = self._messages.popleft
        taken = [popleft()]
        size = len(taken[0])
        while self._messages and size + len(self._messages[0]) <= max_bytes:
            message = popleft()
            size += len(message)
            taken.append(message)
        self.bytes -= size
        return taken
