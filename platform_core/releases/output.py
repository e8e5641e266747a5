"""What a release phase prints, kept apart for `heroku releases:output` while it also goes to the logs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from platform_core.models.logs import PRI_APP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from platform_core.models.logs import LogWriter

_MAX_LINES = 10_000
"""A release phase that prints more keeps its first lines; the log stream has them all."""


@dataclass(slots=True)
class _Output:
    lines: list[str] = field(default_factory=list)
    listener: Callable[[str], None] | None = None
    done: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class ReleaseOutputs:
    """A `LogWriter` in front of another one: copies the lines of running release phases.

    One release phase runs per app at a time, so the app and the process type ``release`` name the release.
    """

    def __init__(self, logs: LogWriter) -> None:
        """Pass every line on to ``logs``."""
        self._logs = logs
        self._by_app: dict[str, _Output] = {}

    def write(
        self,
        app_id: str,
        source: str,
        process: str,
        lines: Sequence[bytes],
        *,
        pri: int = PRI_APP,
        at: float | None = None,
    ) -> None:
        """Append lines to the app's channel, and to the output of its running release phase."""
        self._logs.write(app_id, source, process, lines, pri=pri, at=at)
        output = self._by_app.get(app_id)
        if output is None or source != "app" or process.partition(".")[0] != "release":
            return
        room = _MAX_LINES - len(output.lines)
        texts = [line.decode(errors="replace") for line in lines]
        output.lines.extend(texts[:room])
        if output.listener is not None:
            for text in texts:
                output.listener(text)
        output.wake()

    def begin(self, app_id: str, listener: Callable[[str], None] | None = None) -> None:
        """Start to keep what the app's release phase prints; ``listener`` hears each line at once."""
        self._by_app[app_id] = _Output(listener=listener)

    def end(self, app_id: str) -> str:
        """Stop keeping it, end its streams and return the whole text."""
        output = self._by_app.pop(app_id)
        output.done = True
        output.wake()
        return "".join(f"{line}\n" for line in output.lines)

    async def stream(self, app_id: str) -> AsyncIterator[str]:
        """Yield the running release phase's output from its start to its end; nothing when none runs."""
        output = self._by_app.get(app_id)
        seen = 0
        while output is not None:
            changed = output.changed
            fresh = output.lines[seen:]
            seen += len(fresh)
            if fresh:
                yield "".join(f"{line}\n" for line in fresh)
            if output.done and seen == len(output.lines):
                return
            await changed.wait()
