"""Work that goes on after the answer was given: held, logged when it fails, ended on shutdown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
_log = get_logger(__name__)
_FAILED = "background_work_failed"


class Background:
    """A set of running tasks. The event loop itself holds tasks only weakly."""

    def __init__(self) -> None:
        """Start with nothing running."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, what: str, work: Coroutine[Any, Any, object]) -> None:
        """Run ``work``; ``what`` names it in the log should it fail."""
        self._hold(asyncio.get_running_loop().create_task(self._guard(what, work), name=what))

    async def finish(self, what: str, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` and return what it returns. It goes on when the caller is cancelled meanwhile."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        self._hold(task)
        return await asyncio.shield(task)

    def _hold(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, what: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001  the caller has gone; this log line is the only place left to say it
            _log.exception(_FAILED, work=what)

    async def drain(self) -> None:
        """Wait until everything that runs now, and what that starts, has ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, grace: float = 2.0) -> None:
        """Give running work ``grace`` seconds to end, then cancel it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
