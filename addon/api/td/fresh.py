"""What is told about tables includes what was acknowledged a moment ago."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import Depends

from addon.api.auth import Anyone, Rooms
from platform_core.base.errors import Unavailable

_PATIENCE_S = 5.0
"""When storing takes longer, or fails, what is stored already is told."""


async def _flushed(identity: Anyone, rooms: Rooms) -> None:
    """Pass the flush barrier; at once for an account that has nothing unflushed."""
    with suppress(TimeoutError, Unavailable):
        async with asyncio.timeout(_PATIENCE_S):
            await rooms.ingestor.flush(identity.account.id)


FRESH = Depends(_flushed)
"""For a route's ``dependencies``."""
