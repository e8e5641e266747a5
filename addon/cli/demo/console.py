"""The demo's progress on stderr: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.status import Status


class Step:
    """One step under way; `detail` ends up behind its title."""

    def __init__(self, title: str, spinner: Status | None) -> None:
        """Take the title and, on a terminal, the spinner that shows it."""
        self.title, self.detail = title, ""
        self._spinner = spinner

    def update(self, text: str) -> None:
        """Show where the step is; only a terminal shows it."""
        if self._spinner is not None:
            self._spinner.update(f"{self.title}: {text}")


class Console:
    """Shows one step at a time and how long it took."""

    def __init__(self) -> None:
        """Find out whether somebody watches."""
        self._live = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        self._count = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the block runs, and its outcome after it."""
        self._count += 1
        started = time.monotonic()
        try:
            with self._shown(title) as step:
                yield step
        except BaseException:
            self._line(f"FAILED {title} after {time.monotonic() - started:.1f} s")
            raise
        detail = f": {step.detail}" if step.detail else ""
        self._line(f"[{self._count:2}] {title}{detail} ({time.monotonic() - started:.1f} s)")

    @contextmanager
    def _shown(self, title: str) -> Iterator[Step]:
        if not self._live:
            yield Step(title, None)
            return
        from rich.console import Console as RichConsole  # noqa: PLC0415  # only a terminal needs it

        with RichConsole(stderr=True, highlight=False, markup=False).status(title) as spinner:
            yield Step(title, spinner)

    @staticmethod
    def _line(text: str) -> None:
        print(text, file=sys.stderr, flush=True)
