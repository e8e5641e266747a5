"""A thread for work that nobody waits for: the system runs it only where others leave the processor free."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NICE = 5
"""A third of a normal thread's share; with much less, it would hold the interpreter's lock while it waits."""


class Background:
    """One thread of low priority; ``close`` waits for what runs."""

    def __init__(self, name: str) -> None:
        """Name the thread; it starts with the first work."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_step_back)

    async def run(self, work: Callable[[], None]) -> None:
        """Return when ``work`` is done; what it raises is raised here."""
        await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def close(self) -> None:
        """Take no more work, return when nothing runs any more: it uses what its owner closes next."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)


def _step_back() -> None:
    """Lower this thread's priority, which Linux keeps for each thread by itself."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
