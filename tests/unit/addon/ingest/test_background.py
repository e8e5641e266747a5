"""Work that nobody waits for: one thread, below the others in priority, whose errors are seen."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from addon.ingest.background import Background


def test_work_runs_at_a_lower_priority_and_leaves_the_others_alone() -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    async def run() -> None:
        background = Background("test")
        await background.run(look)
        await background.close()
        await asyncio.to_thread(look)

    asyncio.run(run())
    assert seen[0] > seen[1] == os.getpriority(os.PRIO_PROCESS, 0)


def test_an_error_reaches_whoever_asked_and_the_thread_goes_on() -> None:
    done: list[str] = []

    def fail() -> None:
        raise ValueError("broken")

    async def run() -> None:
        background = Background("test")
        with pytest.raises(ValueError, match="broken"):
            await background.run(fail)
        await background.run(lambda: done.append("next"))
        await background.close()

    asyncio.run(run())
    assert done == ["next"]
