"""What drivers promise that limit memory, processes and CPU; collected where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from platform_core.base.sandbox.client import SpawnerSandbox
from platform_core.base.sandbox.spec import ExitStatus
from tests.contracts.sandbox_runs import (
    drivers,
    opened,
    python,
    start,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
DRIVERS = drivers(lambda isolation: isolation.limits)
__test__ = bool(DRIVERS)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=DRIVERS)
async def limited(request: pytest.FixtureRequest) -> AsyncIterator[SpawnerSandbox]:
    async with opened(request.param) as sandbox:
        yield sandbox


async def test_beyond_the_memory_limit_the_kernel_kills_and_we_know(limited: SpawnerSandbox) -> None:
    hog = await python(limited, "x = bytearray(400 << 20); print('kept')", memory_bytes=64 << 20)
    status, output = await hog.finish()
    assert (status, output) == (ExitStatus(137, out_of_memory=True), "")


async def test_a_kill_is_not_taken_for_a_lack_of_memory(limited: SpawnerSandbox) -> None:
    process = await start(limited, "/bin/sleep", "60", memory_bytes=64 << 20)
    process.process.kill()
    assert (await process.finish())[0] == ExitStatus(137, out_of_memory=False)


async def test_memory_use_is_measured(limited: SpawnerSandbox) -> None:
    script = "x = bytearray(b'x') * (50 << 20); print('ready', flush=True); import time; time.sleep(60)"
    process = await python(limited, script, memory_bytes=256 << 20)
    await process.until(b"ready")
    usage = process.process.memory_usage()
    assert usage is not None
    assert 50 << 20 <= usage <= 90 << 20
    process.process.kill()
    await process.finish()
    assert process.process.memory_usage() is None


async def test_a_fork_bomb_is_stopped(limited: SpawnerSandbox) -> None:
    script = """
import os, sys, time
made = 0
try:
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except BlockingIOError:
    print(made)
"""
    status, output = await (await python(limited, script, max_pids=16)).finish()
    assert status.code == 0
    assert int(output) == 15  # and the program itself
