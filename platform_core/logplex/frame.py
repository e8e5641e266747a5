"""A frame: one request body of a drain, with the id that stays the same when it is sent again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field


def new_frame_id() -> str:
    """Return a random frame id in hex, as Logplex writes them."""
    return secrets.token_hex(16).upper()


@dataclass(frozen=True, slots=True)
class Frame:
    """Messages that travel together. ``seq`` orders the frames of a drain, on disk too."""

    seq: int
    body: bytes
    messages: int
    """Lines of the app in it; the loss notice is not one."""
    announced: int = 0
    """How many lost lines the notice at its head owns up to; 0 when there is no notice."""
    announced_since: float = 0.0
    id: str = field(default_factory=new_frame_id)
    stored: bool = False
    """It is safe on disk."""

    @property
    def msg_count(self) -> int:
        """Messages in the body, the notice included."""
        return self.messages + (1 if self.announced else 0)
