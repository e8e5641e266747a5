"""Cuts a dyno's output into lines as it comes in, in bounded memory."""

from __future__ import annotations

MAX_LINE = 10_000
"""Bytes; a longer line is handed on in parts of this size, as Logplex splits it."""


class LineSplitter:
    """Feed bytes, get whole lines without their newline; the rest waits for the next chunk."""

    def __init__(self) -> None:
        """Start empty."""
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that ``chunk`` completes; at most `MAX_LINE` bytes are kept back."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) >= MAX_LINE:
            whole = len(self._rest) - len(self._rest) % MAX_LINE
            lines.append(self._rest[:whole])
            self._rest = self._rest[whole:]
        return [part for line in lines for part in _parts(line.removesuffix(b"\r"))]

    def finish(self) -> list[bytes]:
        """Return what is left when the output has ended without a newline."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def _parts(line: bytes) -> list[bytes]:
    if len(line) <= MAX_LINE:
        return [line]
    return [line[start : start + MAX_LINE] for start in range(0, len(line), MAX_LINE)]
