"""A conflict that names what it is with, for clients that go on with the thing that is there already."""

from __future__ import annotations

from platform_core.base.errors import Conflict


class TakenBy(Conflict):
    """The name or key is in use."""

    def __init__(self, message: str, other: int, *, hint: str | None = None) -> None:
        """Take the id of what has it, as its clients know it."""
        super().__init__(message, hint=hint)
        self.other = other
