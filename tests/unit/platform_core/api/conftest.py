"""A whole control plane: the real store, releases, add-ons and API over twins of what runs and logs."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa

from platform_core.addons.manifests import Catalog, parse_manifest
from platform_core.addons.market import Market
from platform_core.addons.oauth import TokenExchange
from platform_core.addons.partner import PartnerClient
from platform_core.addons.service import AddOns
from platform_core.addons.sharing import Sharing
from platform_core.api.application import create_api
from platform_core.api.context import Platform, Urls
from platform_core.base.clock import FixedClock
from platform_core.base.errors import NotFound
from platform_core.base.ids import new_uuid
from platform_core.models.apps import Slug
from platform_core.models.logs import PRI_APP, Drain, LogFilter
from platform_core.models.runtime import Dyno, DynoState, RunSpec
from platform_core.releases.background import Background
from platform_core.releases.output import ReleaseOutputs
from platform_core.releases.service import Releases
from platform_core.store.accounts import ensure_account, ensure_key
from platform_core.store.database import open_store
from platform_core.store.run_specs import StoredRunSpecs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from fastapi import FastAPI

KEY = "HRKU-0b0e6a5e-6f7c-4f5a-9d3a-5c1d2e3f4a5b"
OTHER_KEY = "HRKU-11111111-6f7c-4f5a-9d3a-5c1d2e3f4a5b"
EMAIL = "dev@example.com"


class MemoryLogs:
    """A log router that keeps lines in a list."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.drains: dict[str, Sequence[Drain]] = {}
        self.sessions: dict[str, tuple[str, LogFilter]] = {}

    def write(
        self,
        app_id: str,
        source: str,
        process: str,
        lines: Sequence[bytes],
        *,
        pri: int = PRI_APP,
        at: float | None = None,
    ) -> None:
        del pri, at
        self.lines += [(app_id, f"{source}[{process}]: {line.decode()}") for line in lines]

    def set_drains(self, app_id: str, drains: Sequence[Drain]) -> None:
        self.drains[app_id] = list(drains)

    def open_session(self, app_id: str, wanted: LogFilter) -> str:
        session_id = new_uuid()
        self.sessions[session_id] = (app_id, wanted)
        return session_id

    def stream(self, session_id: str, *, after: int | None = None) -> AsyncIterator[tuple[int, str] | None]:
        if session_id not in self.sessions:
            raise NotFound("There is no such log session.")
        app_id, _ = self.sessions[session_id]

        async def read() -> AsyncIterator[tuple[int, str] | None]:
            for number, (owner, line) in enumerate(self.lines):
                if owner == app_id and (after is None or number > after):
                    yield number, line

        return read()

    def forget(self, app_id: str) -> None:
        self.drains.pop(app_id, None)
        self.lines = [each for each in self.lines if each[0] != app_id]


class MemoryDynos:
    """A dyno manager whose dynos are up at once and whose release phases end as told."""

    def __init__(self, specs: StoredRunSpecs, logs: Any) -> None:
        self._specs = specs
        self._logs = logs
        self.release_exit_code = 0
        self.reconciled: list[str] = []
        self.calls: list[tuple[str, str, str | None]] = []
        self._dynos: dict[str, list[Dyno]] = {}

    async def reconcile(self, app_id: str) -> None:
        self.reconciled.append(app_id)
        spec = self._specs.run_spec(app_id)
        self._dynos[app_id] = [] if spec is None else [
            Dyno(new_uuid(), app_id, f"{process.type}.{number}", process.type, process.command, process.size,
                 DynoState.UP, time.time(), spec.release_version)
            for process in spec.processes
            for number in range(1, process.quantity + 1)
        ]  # fmt: skip

    def dynos(self, app_id: str) -> Sequence[Dyno]:
        return self._dynos.get(app_id, [])

    async def restart(self, app_id: str, selector: str | None = None) -> None:
        self.calls.append(("restart", app_id, selector))

    async def stop(self, app_id: str, selector: str) -> None:
        self.calls.append(("stop", app_id, selector))

    async def run_release_phase(self, spec: RunSpec, command: str) -> int:
        self._logs.write(spec.app_id, "app", "release.1", [f"ran {command}".encode()])
        return self.release_exit_code

    async def destroy(self, app_id: str) -> None:
        self._dynos.pop(app_id, None)
        self.calls.append(("destroy", app_id, None))


class Forgotten:
    """Takes the place of the build room, which there is no need of here."""

    async def forget(self, app_id: str) -> None:
        del app_id


@dataclass
class Vendor:
    """A vendor behind the Partner API that answers as told and remembers what it was asked."""

    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    """What to answer next; when there is none, a plain success."""

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = None if not request.content else json.loads(request.content)
        self.requests.append((request.method, request.url.path, body))
        if request.headers["authorization"] != "Basic c3RvcmU6c2VjcmV0":
            return httpx.Response(401)
        if self.answers:
            status, answer = self.answers.pop(0)
            return httpx.Response(status, json=answer)
        if request.method == "DELETE":
            return httpx.Response(204)
        if request.method == "PUT":
            return httpx.Response(200, json={"message": "changed"})
        return httpx.Response(
            200,
            json={
                "id": body["uuid"],
                "message": "ready",
                "config": {"STORE_URL": "https://store.example.com/x", "STORE_KEY": "k-1"},
                "log_drain_url": "https://in.example.com/logs",
            },
        )


MANIFEST: dict[str, Any] = {
    "id": "store",
    "name": "Store",
    "human_name": "The Store",
    "plans": [
        {"name": "small", "human_name": "Small", "price_cents": 500, "default": True},
        {"name": "big", "human_name": "Big", "price_cents": 5000},
    ],
    "api": {
        "config_vars": ["STORE_URL", "STORE_KEY"],
        "config_vars_prefix": "STORE",
        "password": "secret",
        "sso_salt": "salt",
        "client_secret": "client",
        "regions": ["us"],
        "requires": ["syslog_drain", "many_per_app", "attachable"],
        "production": {
            "base_url": "https://store.example.com/heroku/resources",
            "sso_url": "https://store.example.com/sso",
        },
    },
}


@dataclass
class World:
    """What a test of the API can see and touch."""

    platform: Platform
    http: httpx.AsyncClient
    logs: MemoryLogs
    dynos: MemoryDynos
    vendor: Vendor
    clock: FixedClock

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.http.request(method, path, json=body, headers=named)
        await self.platform.background.drain()
        return response

    async def json(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        response = await self.call(method, path, body, **headers)
        assert response.is_success, response.text
        return response.json()

    async def deploy(self, app: str, process_types: dict[str, str] | None = None) -> Any:
        """Release a slug without a build."""
        found = await self.json("GET", f"/apps/{app}")
        slug = Slug(
            id=new_uuid(),
            app_id=found["id"],
            sha256="ab" * 32,
            size=1234,
            commit="1a2b3c4d5e6f",
            process_types=process_types or {"web": "python web.py", "worker": "python work.py"},
            buildpack="Python",
            created_at=self.clock.now(),
        )
        release = await self.platform.releases.deploy(found["id"], slug, EMAIL)
        await self.platform.background.drain()
        return release


def build_platform(
    database_url: str, catalog: Catalog, partner: PartnerClient, clock: Any, urls: Urls
) -> tuple[Platform, MemoryLogs, MemoryDynos]:
    store = open_store(database_url)
    # A test's database need not survive a power cut; the fsyncs are most of these tests' time.
    sa.event.listen(store.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    store.engine.dispose()
    account = store.run_sync(ensure_account, EMAIL, clock.now())
    store.run_sync(ensure_key, account, KEY, clock.now())
    other = store.run_sync(ensure_account, "other@example.com", clock.now())
    store.run_sync(ensure_key, other, OTHER_KEY, clock.now())
    logs = MemoryLogs()
    outputs = ReleaseOutputs(logs)
    specs = StoredRunSpecs(store, lambda sha256: Path("slugs") / sha256)
    dynos = MemoryDynos(specs, outputs)
    background = Background()
    releases = Releases(store, outputs, clock, specs=specs, dynos=dynos, background=background)
    market = Market(store, releases, catalog, partner, logs, clock, background, urls.api)
    forgotten = Forgotten()
    platform = Platform(
        store=store,
        releases=releases,
        catalog=catalog,
        addons=AddOns(market),
        sharing=Sharing(market),
        tokens=TokenExchange(market),
        logs=logs,
        outputs=outputs,
        dynos=dynos,
        background=background,
        forget_code=forgotten.forget,
        closing=asyncio.Event(),
        clock=clock,
        urls=urls,
    )
    return platform, logs, dynos


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: quicker than to migrate for each test."""
    path = tmp_path_factory.mktemp("database") / "platform.db"
    # Closing the last connection writes the WAL back, so the file alone is the whole database.
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def api() -> FastAPI:
    """The API over no platform yet: its routes are worked out at their first use, which need be only once."""
    unset: Any = None
    return create_api(unset)


@pytest.fixture
async def world(tmp_path: Path, empty_database: Path, api: FastAPI) -> AsyncIterator[World]:
    shutil.copy(empty_database, tmp_path / "platform.db")
    vendor = Vendor()
    clock = FixedClock(1_800_000_000.0)
    partner = PartnerClient(retry_delays=(0.0, 0.0), transport=httpx.MockTransport(vendor.handle))
    platform, logs, dynos = build_platform(
        f"sqlite:///{tmp_path}/platform.db",
        Catalog([parse_manifest(MANIFEST)]),
        partner,
        clock,
        Urls("http://localhost:7080", "localhost:7081", "http://<app>.localhost:7082/"),
    )
    api.state.platform = platform
    transport = httpx.ASGITransport(api)
    headers = {"Authorization": f"Bearer {KEY}", "Accept": "application/vnd.heroku+json; version=3"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
        yield World(platform, http, logs, dynos, vendor, clock)
    await platform.background.close()
    await partner.close()
    platform.store.close()
