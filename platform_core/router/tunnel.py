"""A raw tunnel between client and dyno, after a protocol switch (WebSocket)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platform_core.router.wire import Wire

_CHUNK = 1 << 16


async def tunnel(client: Wire, dyno: Wire, idle_timeout: float) -> bool:
    """Pass bytes both ways until a side ends; False when both were silent for ``idle_timeout`` seconds."""
    for one, other in ((client, dyno), (dyno, client)):
        early, _closed = one.http.trailing_data
        if early:
            await other.send_raw(early)
    idle = asyncio.timeout(idle_timeout)
    try:
        async with idle:
            pumps = [
                asyncio.ensure_future(_pump(one, other, idle, idle_timeout))
                for one, other in ((client, dyno), (dyno, client))
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
    except TimeoutError:
        return False
    return True


async def _pump(source: Wire, sink: Wire, idle: asyncio.Timeout, idle_timeout: float) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while chunk := await source.reader.read(_CHUNK):
            idle.reschedule(loop.time() + idle_timeout)
            await sink.send_raw(chunk)
