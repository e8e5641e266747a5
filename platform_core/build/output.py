"""The build log, in the style that Heroku users know: ``-----> Step``, seven spaces, `` !     error``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_INDENT = "       "
_ERROR = " !     "


class BuildOutput:
    """Writes lines to whoever watches the build, at once."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        """Send each line (without its newline) to ``emit``."""
        self._emit = emit

    def step(self, text: str) -> None:
        """Begin a step."""
        self._emit(f"-----> {text}")

    def line(self, text: str) -> None:
        """Say more about the step, or pass a tool's output on."""
        self._emit(f"{_INDENT}{text}")

    def plain(self, text: str) -> None:
        """Say something that belongs to no step."""
        self._emit(text)

    def blank(self) -> None:
        """Leave a line empty."""
        self._emit("")

    def error(self, *lines: str) -> None:
        """Say what went wrong and what to do, set off by empty lines."""
        self.blank()
        for line in lines:
            for part in line.splitlines():
                self._emit(f"{_ERROR}{part}")
        self.blank()
