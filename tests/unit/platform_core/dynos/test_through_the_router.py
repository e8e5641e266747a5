"""Dynos behind the real router: a redeploy under load, and a crash as the client sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from platform_core.dynos.manager import SandboxDynoManager
from platform_core.router.server import HttpRouter
from platform_core.router.table import RouteTable

from .conftest import WEB_APP, MemoryLog, MemoryRunSpecs, Platform, make_slug

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from platform_core.base.sandbox.client import SpawnerSandbox
    from platform_core.dynos.settings import DynoSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served(
    sandbox: SpawnerSandbox, dyno_settings: DynoSettings, tmp_path: Path
) -> AsyncIterator[tuple[Platform, HttpRouter]]:
    log, table, specs = MemoryLog(), RouteTable(), MemoryRunSpecs()
    slug = make_slug(tmp_path / "slug.tzst", {"web.pl": WEB_APP})
    manager = SandboxDynoManager(specs, sandbox, log, table, dyno_settings)
    router = HttpRouter(table, log)
    await router.start()
    yield Platform(manager, log, table, specs, slug), router  # type: ignore[arg-type]
    await router.close()
    await manager.close()


async def get(port: int) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]), answer.rpartition("\r\n")[2]


async def test_zero_requests_fail_during_two_redeploys_under_load(
    served: tuple[Platform, HttpRouter],
) -> None:
    platform, router = served
    env = {"SLOW": "0.01"}
    await platform.release(1, env=env, web=("perl web.pl", 2))
    answers: list[tuple[int, str]] = []
    done = asyncio.Event()

    async def load() -> None:
        while not done.is_set():
            answers.append(await get(router.port))

    clients = [asyncio.ensure_future(load()) for _ in range(4)]
    for version in (2, 3):
        await platform.release(version, env=env, web=("perl web.pl", 2))
        await platform.log.until_said("Process exited with status", times=2 * (version - 1))
    done.set()
    await asyncio.gather(*clients)
    assert {status for status, _body in answers} == {200}
    assert (await get(router.port))[1].endswith("v3")
    lines = [line for _app, _source, process, line in platform.log.lines if process == "router"]
    assert len(lines) == len(answers) + 1
    assert all(line.startswith("at=info ") for line in lines)


async def test_a_crash_is_h10_and_no_dynos_are_h14(served: tuple[Platform, HttpRouter]) -> None:
    platform, router = served
    await platform.release(1, web="exit 1")
    await platform.log.until_said("State changed from starting to crashed", times=2)
    assert (await get(router.port))[0] == 503
    await platform.scale(web=0)
    assert (await get(router.port))[0] == 503
    lines = [line for _app, _source, process, line in platform.log.lines if process == "router"]
    assert [line.split()[1] for line in lines] == ["code=H10", "code=H14"]
