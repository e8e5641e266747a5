"""How far a running analysis has come: what its process says in a file, relayed to whoever keeps it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

Report = Callable[[str, int], Awaitable[None]]
"""Is told the stage (staging, computing, writing) and how many percent of the whole job are done."""
STAGES = ("staging", "computing", "writing")
_LOOK_S = 0.3
_MOST_BYTES = 200


async def unheard(_stage: str, _percent: int) -> None:
    """Tell nobody."""


async def relay(file: Path, report: Report, low: int, high: int) -> None:
    """Report each new word of the file until cancelled; its 0 to 100 percent are ``low`` to ``high`` here."""
    last = None
    while True:
        word = await asyncio.to_thread(read_progress, file)
        if word is not None and word != last:
            last = word
            stage, percent = word
            await report(stage, low + (high - low) * percent // 100)
        await asyncio.sleep(_LOOK_S)


def read_progress(file: Path) -> tuple[str, int] | None:
    """Return what the file says; None where it is missing or no such word.

    A sandbox wrote it: it is not followed when it is a link, nor waited for, nor read at length.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        word = json.loads(os.read(descriptor, _MOST_BYTES))
        stage, percent = word["stage"], word["percent"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    finally:
        os.close(descriptor)
    known = stage in STAGES and isinstance(percent, int) and 0 <= percent <= 100  # noqa: PLR2004  (a percentage)
    return (stage, percent) if known else None
