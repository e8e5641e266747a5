"""Fixtures of the dyno tests: a real sandbox, a log and a route table in memory, slugs made on the spot."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import zstandard

from platform_core.base.sandbox.client import SpawnerSandbox
from platform_core.dynos.backoff import CrashPolicy
from platform_core.dynos.manager import SandboxDynoManager
from platform_core.dynos.settings import DynoSettings
from platform_core.models.apps import Process
from platform_core.models.runtime import RunSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from platform_core.models.routing import AppRoute

UID = 24_680
WEB_APP = """\
use Socket;
$SIG{TERM} = sub { exit 0 };
socket(my $server, PF_INET, SOCK_STREAM, 0);
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, 1);
bind($server, sockaddr_in($ENV{PORT}, INADDR_ANY)) or die $!;
listen($server, 100);
$| = 1;
print "listening\\n";
while (accept(my $peer, $server)) {
    sysread($peer, my $request, 65536);
    select(undef, undef, undef, $ENV{SLOW} || 0);
    my $body = "$ENV{DYNO} $ENV{HEROKU_RELEASE_VERSION}";
    my $head = "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: " . length($body);
    syswrite($peer, "$head\\r\\n\\r\\n$body");
    close($peer);
}
"""
"""A web server in Perl: it is part of every Debian, and lies in /usr, where every sandbox sees it."""


class MemoryLog:
    """A `LogWriter` that keeps everything and can be waited on."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, str]] = []
        self._changed = asyncio.Event()

    def write(
        self,
        app_id: str,
        source: str,
        process: str,
        lines: Sequence[bytes],
        *,
        pri: int = 190,
        at: float | None = None,
    ) -> None:
        del pri, at
        self.lines += [(app_id, source, process, line.decode()) for line in lines]
        self._changed.set()

    def texts(self, source: str, process: str | None = None) -> list[str]:
        return [text for _app, src, name, text in self.lines if src == source and process in {None, name}]

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not wanted():
                self._changed.clear()
                await self._changed.wait()

    async def until_said(self, text: str, times: int = 1) -> None:
        await self.until(lambda: sum(text in line for *_, line in self.lines) >= times)


class MemoryRoutes:
    """A `Routes` that keeps every route that was published."""

    def __init__(self) -> None:
        self.now: dict[str, AppRoute] = {}
        self.history: dict[str, list[AppRoute]] = defaultdict(list)

    def publish(self, route: AppRoute) -> None:
        self.now[route.app_id] = route
        self.history[route.app_id].append(route)

    def withdraw(self, app_id: str) -> None:
        self.now.pop(app_id, None)


class MemoryRunSpecs:
    """A `RunSpecs` that tests set."""

    def __init__(self) -> None:
        self.specs: dict[str, RunSpec] = {}

    def run_spec(self, app_id: str) -> RunSpec | None:
        return self.specs.get(app_id)

    def app_ids(self) -> Sequence[str]:
        return list(self.specs)


def make_slug(path: Path, files: dict[str, str]) -> Path:
    """Write a slug with these files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            member.mode = 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    path.write_bytes(zstandard.compress(plain.getvalue()))
    return path


@dataclass
class Platform:
    """A dyno manager and what surrounds it."""

    manager: SandboxDynoManager
    log: MemoryLog
    routes: MemoryRoutes
    specs: MemoryRunSpecs
    slug: Path

    async def release(
        self,
        version: int = 1,
        *,
        env: dict[str, str] | None = None,
        slug: str = "0" * 64,
        **commands: object,
    ) -> None:
        """Release with these processes: type=command or type=(command, quantity[, size])."""
        processes = []
        for kind, given in commands.items():
            command, quantity, size = (*(given if isinstance(given, tuple) else (given,)), 1, "Basic")[:3]
            processes.append(Process("app-1", kind, str(command), int(str(quantity)), str(size)))
        self.specs.specs["app-1"] = RunSpec(
            app_id="app-1",
            app_name="shop",
            release_version=version,
            release_id=f"release-{version}",
            slug_sha256=slug,
            slug_commit="abc",
            slug_path=self.slug,
            config_vars=env or {},
            processes=processes,
            maintenance=False,
            uid=UID,
            release_created_at=1_767_323_045.0,
        )
        await self.manager.reconcile("app-1")

    async def scale(self, **quantities: int) -> None:
        spec = self.specs.specs["app-1"]
        processes = [replace(one, quantity=quantities.get(one.type, one.quantity)) for one in spec.processes]
        self.specs.specs["app-1"] = replace(spec, processes=processes)
        await self.manager.reconcile("app-1")

    def states(self) -> dict[str, str]:
        return {dyno.name: dyno.state.value for dyno in self.manager.dynos("app-1")}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def sandbox() -> AsyncIterator[SpawnerSandbox]:
    sandbox = SpawnerSandbox()
    await sandbox.start()
    yield sandbox
    await sandbox.close()


@pytest.fixture
def dyno_settings(tmp_path: Path) -> DynoSettings:
    return DynoSettings(
        folder=tmp_path / "dynos",
        boot_timeout=1.5,
        exit_timeout=1.0,
        drain_timeout=5.0,
        shutdown_timeout=1.0,
        memory_interval=0.05,
        crash_policy=CrashPolicy(delays=(0.0, 60.0)),
    )


@pytest.fixture
async def platform(
    sandbox: SpawnerSandbox, dyno_settings: DynoSettings, tmp_path: Path
) -> AsyncIterator[Platform]:
    log, routes, specs = MemoryLog(), MemoryRoutes(), MemoryRunSpecs()
    files = {"web.pl": WEB_APP, ".profile.d/a.sh": "export FROM_PROFILE=yes", "data/file": "from the slug\n"}
    slug = make_slug(tmp_path / "slug.tzst", files)
    manager = SandboxDynoManager(specs, sandbox, log, routes, dyno_settings)
    yield Platform(manager, log, routes, specs, slug)
    await manager.close()
    assert not list((dyno_settings.folder / "dynos").iterdir()), "a dyno's files were left behind"
