"""A listing does not hang on a flush that hangs, nor fail with one that fails."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from addon.api.td import fresh
from platform_core.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def _hangs(_account: int) -> None:
    await asyncio.Event().wait()


async def _fails(_account: int) -> None:
    raise Unavailable


@pytest.mark.parametrize("flush", [_hangs, _fails])
def test_what_is_stored_is_told_when_the_rest_cannot_be(
    flush: Callable[[int], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "_PATIENCE_S", 0.01)
    identity = cast("Any", SimpleNamespace(account=SimpleNamespace(id=1)))
    rooms = cast("Any", SimpleNamespace(ingestor=SimpleNamespace(flush=flush)))

    async def ask() -> None:
        async with asyncio.timeout(5):
            await fresh.FRESH.dependency(identity, rooms)

    asyncio.run(ask())
