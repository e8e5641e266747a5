"""A batch: the lines of one write, which share time and origin, numbered one after the other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from platform_core.models.logs import LogFilter

# Colours may pass, everything else that moves a terminal's cursor or ends an SSE field may not.
_CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines ``first_id``, ``first_id + 1``, … of a channel. ``timestamp`` is RFC 3339 with six digits."""

    first_id: int
    timestamp: str
    source: str
    process: str
    lines: Sequence[bytes]

    def matches(self, wanted: LogFilter) -> bool:
        """Tell whether a session with this filter shows the batch."""
        if wanted.source is not None and wanted.source != self.source:
            return False
        dyno = wanted.dyno
        return dyno is None or dyno in (self.process, self.process.partition(".")[0])

    def newest(self, count: int) -> Batch:
        """Return the batch cut down to its last ``count`` lines."""
        surplus = len(self.lines) - count
        if surplus <= 0:
            return self
        return Batch(self.first_id + surplus, self.timestamp, self.source, self.process, self.lines[surplus:])

    def after(self, event_id: int) -> Batch | None:
        """Return the part behind ``event_id``, None when there is none."""
        if event_id < self.first_id:
            return self
        rest = self.first_id + len(self.lines) - 1 - event_id
        return self.newest(rest) if rest > 0 else None

    def render(self) -> Iterator[tuple[int, str]]:
        """Yield each line's event id and its human form, ``<ts> <source>[<process>]: <message>``."""
        head = f"{self.timestamp} {self.source}[{self.process}]: "
        for number, line in enumerate(self.lines, self.first_id):
            yield number, head + printable(line)


def printable(line: bytes) -> str:
    """Return a line as text that is safe on a terminal: control characters become visible escapes."""
    text = line.decode("utf-8", "replace")
    return text if text.isprintable() else _CONTROL.sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    return found[0] if len(found[0]) > 1 else f"\\x{ord(found[0]):02x}"
