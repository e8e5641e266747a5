"""How far an import is: a bar on a terminal, a plain line now and then elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol, Self, TextIO

if TYPE_CHECKING:
    from types import TracebackType

_EVERY_S = 5.0
_MEGA = 1_000_000


class Progress(Protocol):
    """Shows bytes and rows; ``total`` is unknown for a pipe."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, keeping the last state on the screen."""
        ...

    def show(self, done: int, rows: int) -> None:
        """Show that ``done`` bytes of the files are stored, with ``rows`` new rows."""
        ...


class Lines:
    """A line every few seconds."""

    def __init__(self, total: int | None, out: TextIO, every_s: float = _EVERY_S) -> None:
        """Write to ``out``."""
        self._total, self._out, self._every_s = total, out, every_s
        self._began = self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def show(self, done: int, rows: int) -> None:
        """Write a line when it is time for one."""
        now = time.monotonic()
        if now - self._last < self._every_s:
            return
        self._last = now
        spent = now - self._began
        print(line(done, self._total, rows, spent), file=self._out, flush=True)


def line(done: int, total: int | None, rows: int, spent: float) -> str:
    """Return the state in words; ``spent`` is in seconds."""
    speed = f"{rows:,} rows, {rows / max(spent, 1e-9):,.0f} rows/s"
    if not total:
        return f"{done / _MEGA:,.1f} MB, {speed}"
    left = spent * (total - done) / done if done else 0.0
    part = f"{done / _MEGA:,.1f} of {total / _MEGA:,.1f} MB ({100 * done // total} %)"
    return f"{part}, {speed}, {left:,.0f} s left"


class Bar:
    """A bar with bytes, rows a second and the time left."""

    def __init__(self, total: int | None) -> None:
        """Draw on stderr."""
        from rich import progress  # noqa: PLC0415  # only a terminal needs it
        from rich.console import Console  # noqa: PLC0415

        self._began = time.monotonic()
        self._bar = progress.Progress(
            progress.TextColumn("import"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TextColumn("{task.fields[rows]}"),
            progress.TimeRemainingColumn(),
            console=Console(file=sys.stderr),
        )
        self._task = self._bar.add_task("import", total=total, rows="")

    def __enter__(self) -> Self:
        """Begin."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._bar.stop()

    def show(self, done: int, rows: int) -> None:
        """Move on."""
        speed = rows / max(time.monotonic() - self._began, 1e-9)
        self._bar.update(self._task, completed=done, rows=f"{rows:,} rows, {speed:,.0f}/s")


def progress_for(total: int | None) -> Progress:
    """Return the form that fits stderr."""
    return Bar(total) if sys.stderr.isatty() else Lines(total, sys.stderr)
