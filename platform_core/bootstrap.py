"""The composition root: builds every room of the platform, wires the ports, starts and stops it all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platform_core.addons.manifests import load_catalog
from platform_core.addons.market import Market
from platform_core.addons.oauth import TokenExchange
from platform_core.addons.partner import PartnerClient
from platform_core.addons.service import AddOns
from platform_core.addons.sharing import Sharing
from platform_core.api.application import create_api
from platform_core.api.context import Platform, Urls
from platform_core.api.deploys import Deploys
from platform_core.api.listeners import GitOrApi, Listener, bind, port_taken
from platform_core.base.clock import SystemClock
from platform_core.base.errors import InvalidInput, NotFound
from platform_core.base.ids import is_uuid, new_uuid
from platform_core.base.logs import get_logger
from platform_core.base.sandbox.client import SpawnerSandbox
from platform_core.build import hook
from platform_core.build.builder import Builder, BuildSettings
from platform_core.build.git_http import GitHttp
from platform_core.build.pushes import PushServer
from platform_core.build.repos import Repositories
from platform_core.build.slug import SlugStore
from platform_core.dynos.manager import SandboxDynoManager
from platform_core.dynos.settings import DynoSettings
from platform_core.logplex.router import Logplex
from platform_core.logplex.settings import LogplexSettings
from platform_core.releases.background import Background
from platform_core.releases.output import ReleaseOutputs
from platform_core.releases.service import Releases
from platform_core.router.server import HttpRouter
from platform_core.router.settings import RouterSettings
from platform_core.router.table import RouteTable
from platform_core.store import accounts, apps
from platform_core.store.config import full_config
from platform_core.store.database import Store, open_store
from platform_core.store.drains import list_drains
from platform_core.store.run_specs import StoredRunSpecs
from platform_core.store.slugs import slug_hashes
from platform_core.store.tickets import platform_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from platform_core.models.logs import LogWriter

_log = get_logger(__name__)
_DRAINS_REFUSED = "drains_refused"
_KEY_PREFIX = "HRKU-"
_ROUTER_GRACE = 1.5
_BACKGROUND_GRACE = 1.0
"""Seconds. With the listeners' and the dynos' own they stay below the ten that a stop may take."""


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """What the platform is told at start, from ``SLUICE_PLATFORM_…`` variables and the command line."""

    home: Path
    """Where everything that must last is kept."""
    host: str = "127.0.0.1"
    port_base: int = 7080
    """N: API over HTTP; N+1: git and API over TLS; N+2: the apps; N+3: reserved for one-off dynos."""
    database_url: str | None = None
    """Default: ``platform.db`` in ``home``."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    """For N+1. Without a certificate it speaks plain HTTP."""
    ca_file: Path | None = None
    """Authorities that vendors' and drains' certificates may come from, beside the system's."""
    manifests: Path | None = None
    """The folder of add-on manifests."""
    owner_email: str = "owner@localhost.localdomain"
    owner_key: str | None = None
    """The first account's API key, ``HRKU-<uuid>``. Default: made once, kept in ``owner.key`` (0600)."""
    dyno_services: str = ""
    """``host:port`` pairs, comma-separated, that dynos reach at 127.0.0.1 on the same port."""
    public_host: str = "localhost"
    """The name under which clients reach all of it."""

    @property
    def urls(self) -> Urls:
        """Where clients reach the platform."""
        return Urls(
            api=f"http://{self.public_host}:{self.port_base}",
            git_host=f"{self.public_host}:{self.port_base + 1}",
            web=f"http://<app>.{self.public_host}:{self.port_base + 2}/",
        )


def owner_key(settings: PlatformSettings) -> str:
    """Return the first account's API key; one that is not given is made and kept in the home folder.

    Raises:
        InvalidInput: it does not look like a key.
    """
    path = settings.home / "owner.key"
    key = settings.owner_key
    if key is None and path.is_file():
        key = path.read_text().strip()
    if key is None:
        key = f"{_KEY_PREFIX}{new_uuid()}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{key}\n")
    if not key.startswith(_KEY_PREFIX) or not is_uuid(key.removeprefix(_KEY_PREFIX)):
        raise InvalidInput("The owner's API key is malformed.", hint=f"It is {_KEY_PREFIX}<uuid>.")
    return key


def parse_services(text: str) -> tuple[tuple[str, int], ...]:
    """Read ``host:port,host:port``.

    Raises:
        InvalidInput: an entry is not of that form.
    """
    services = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        host, _, port = entry.rpartition(":")
        if not host or not port.isdigit():
            raise InvalidInput(f"The dyno service {entry!r} is malformed.", hint="Write host:port.")
        services.append((host, int(port)))
    return tuple(services)


class Program:
    """The whole platform in one process."""

    def __init__(self, settings: PlatformSettings) -> None:
        """Build every room; nothing runs yet.

        Raises:
            InvalidInput: a setting or a manifest is wrong.
        """
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()
        self._clock = SystemClock()
        self._closing = asyncio.Event()
        self._key = owner_key(settings)
        self._catalog = load_catalog(settings.manifests)
        self._services = parse_services(settings.dyno_services)

    async def start(self) -> None:
        """Start everything; returns once every listener accepts.

        Raises:
            SluiceError: something could not start; what had started is stopped again.
        """
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def close(self) -> None:
        """Stop everything, dynos included, in the reverse order of the start."""
        self._closing.set()
        await self._stack.aclose()

    async def _start(self) -> None:
        settings, stack, clock = self._settings, self._stack, self._clock
        base = settings.port_base
        api_socket = bind(settings.host, base, "Platform API")
        stack.callback(api_socket.close)
        tls_socket = bind(settings.host, base + 1, "git and Platform API over TLS")
        stack.callback(tls_socket.close)
        store = self._open_store()
        sandbox = SpawnerSandbox()
        await sandbox.start()
        stack.push_async_callback(sandbox.close)
        logplex = Logplex(
            LogplexSettings(),
            clock,
            ca_file=settings.ca_file,
            spill_dir=settings.home / "spill",
            session_key=store.run_sync(platform_secret, "log-sessions"),
        )
        await logplex.start()
        stack.push_async_callback(logplex.close)
        background = Background()
        stack.push_async_callback(background.close, _BACKGROUND_GRACE)

        outputs = ReleaseOutputs(logplex)
        slugs = SlugStore(settings.home / "slugs")
        specs = StoredRunSpecs(store, slugs.path)
        dyno_settings = DynoSettings(settings.home / "dynos", services=self._services)
        routes, router = await self._start_router(store, outputs)
        dynos = SandboxDynoManager(specs, sandbox, outputs, routes, dyno_settings, clock=clock)
        releases = Releases(store, outputs, clock, specs=specs, dynos=dynos, background=background)
        partner = PartnerClient(self._trust())
        stack.push_async_callback(partner.close)
        market = Market(
            store, releases, self._catalog, partner, logplex, clock, background, settings.urls.api
        )
        deploys = Deploys(store, releases, clock, settings.urls)
        git, builder, repos = await self._start_git(store, sandbox, slugs, deploys, releases.announce)

        async def forget_code(app_id: str) -> None:
            await repos.delete(app_id)
            await builder.forget(app_id)
            if not builder.busy:  # otherwise the next start does it
                await _prune(slugs, store)

        platform = Platform(
            store=store,
            releases=releases,
            catalog=self._catalog,
            addons=AddOns(market),
            sharing=Sharing(market),
            tokens=TokenExchange(market),
            logs=logplex,
            outputs=outputs,
            dynos=dynos,
            background=background,
            forget_code=forget_code,
            closing=self._closing,
            clock=clock,
            urls=settings.urls,
        )
        slugs.remove_partial()
        await _prune(slugs, store)
        await self._recover(platform)
        stack.push_async_callback(dynos.close)
        stack.push_async_callback(router.close, _ROUTER_GRACE)  # requests under way still have their dynos
        await dynos.start()
        both = GitOrApi(git, create_api(platform))
        listeners = [
            Listener(api_socket, both),
            Listener(tls_socket, both, cert=settings.tls_cert, key=settings.tls_key),
        ]
        stack.push_async_callback(_close_all, listeners)
        for listener in listeners:
            await listener.start()

    async def _start_router(self, store: Store, logs: LogWriter) -> tuple[RouteTable, HttpRouter]:
        async def find_app(name: str) -> str | None:
            try:
                return (await store.run(apps.get_app, name)).id
            except NotFound:
                return None

        settings = self._settings
        routes = RouteTable(settings.public_host, find_app)
        router = HttpRouter(routes, logs, RouterSettings(domain=settings.public_host))
        try:
            await router.start(settings.host, settings.port_base + 2)
        except OSError as error:
            raise port_taken(settings.host, settings.port_base + 2, "HTTP router", error) from error
        self._stack.push_async_callback(router.close, _ROUTER_GRACE)
        return routes, router

    def _open_store(self) -> Store:
        settings, now = self._settings, self._clock.now()
        url = settings.database_url or f"sqlite:///{settings.home / 'platform.db'}"
        store = open_store(url)
        self._stack.callback(store.close)
        owner = store.run_sync(accounts.ensure_account, settings.owner_email, now)
        store.run_sync(accounts.ensure_key, owner, self._key, now)
        return store

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._settings.ca_file is not None:
            context.load_verify_locations(self._settings.ca_file)
        return context

    async def _start_git(
        self,
        store: Store,
        sandbox: SpawnerSandbox,
        slugs: SlugStore,
        deploys: Deploys,
        announce: Callable[[str, str], None],
    ) -> tuple[GitHttp, Builder, Repositories]:
        async def config_vars(app_id: str) -> Mapping[str, str]:
            return await store.run(full_config, app_id)

        async def uid(app_id: str) -> int:
            return await store.run(apps.uid_of, app_id)

        repos = Repositories(self._settings.home / "git", Path(hook.__file__))
        builder = Builder(
            BuildSettings(self._settings.home / "build"),
            self._clock,
            sandbox=sandbox,
            slugs=slugs,
            config_vars=config_vars,
            uid=uid,
            publish=deploys.publish,
            announce=announce,
        )
        # A Unix socket's path is limited to some 100 bytes, a home folder's is not.
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-"))
        pushes = PushServer(Path(folder) / "push.sock", repos, builder)
        await pushes.start()
        self._stack.push_async_callback(pushes.close)
        return GitHttp(repos, pushes, deploys.authorize), builder, repos

    async def _recover(self, platform: Platform) -> None:
        """Take up what the last run left: drains to feed, releases cut short, vendors to tell."""
        for app_id in await platform.store.run(apps.app_ids):
            drains = await platform.store.run(list_drains, app_id)
            try:
                platform.logs.set_drains(app_id, drains)
            except InvalidInput:  # one app's row must not keep all others down
                _log.exception(_DRAINS_REFUSED, app=app_id)
        await platform.releases.recover()
        platform.background.start("give back", platform.addons.give_backs.recover())


async def _prune(slugs: SlugStore, store: Store) -> None:
    """Remove slugs that no app has any more. No build may be under way: its slug is nobody's yet."""
    there = slugs.hashes()
    for sha256 in there - await store.run(slug_hashes):
        slugs.delete(sha256)


async def _close_all(listeners: Sequence[Listener]) -> None:
    await asyncio.gather(*(listener.close() for listener in listeners))
