"""A git host on the loopback: the ASGI app under uvicorn, a builder in a real sandbox, a real git."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn

from platform_core.base.clock import FixedClock
from platform_core.base.errors import InvalidInput, NotFound, Unauthenticated
from platform_core.base.ids import new_uuid
from platform_core.base.sandbox.client import SpawnerSandbox
from platform_core.build import hook
from platform_core.build.builder import Builder, BuildResult, BuildSettings, Published
from platform_core.build.git_http import GitHttp
from platform_core.build.pushes import PushServer
from platform_core.build.repos import Repositories
from platform_core.build.slug import SlugStore
from platform_core.models.apps import Account, App

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from platform_core.build.output import BuildOutput

KEY = "key-of-ada"


@dataclass
class Host:
    """What the tests look at."""

    folder: Path
    url: str = ""
    app: App = field(
        default_factory=lambda: App(new_uuid(), "shop", Account(new_uuid(), "ada@example.com", "Ada"), 0, 0)
    )
    published: list[BuildResult] = field(default_factory=list)
    announced: list[tuple[str, str]] = field(default_factory=list)
    refuse: str = ""
    config: dict[str, str] = field(default_factory=dict)
    slugs: SlugStore | None = None
    repos: Repositories | None = None
    timeout: float = 120
    may_publish: threading.Event = field(default_factory=threading.Event)
    """Set, unless a test wants builds to wait before their release."""
    driver: str | None = None

    async def authorize(self, app_name: str, _username: str, password: str) -> App:
        if password != KEY:
            raise Unauthenticated("Invalid credentials provided.", hint="Run `heroku login`.")
        if app_name != self.app.name:
            raise NotFound(f"Couldn't find that app: {app_name}.", hint="Create it with `heroku create`.")
        return self.app

    async def publish(self, result: BuildResult, out: BuildOutput) -> Published:
        await asyncio.to_thread(self.may_publish.wait, 20)
        if self.refuse:
            raise InvalidInput(self.refuse)
        out.line("(published)")
        self.published.append(result)
        return Published(len(self.published) + 2, "http://shop.example.com/")

    async def config_vars(self, _app_id: str) -> dict[str, str]:
        return self.config

    async def uid(self, _app_id: str) -> int:
        return 31_337

    def __post_init__(self) -> None:
        self.may_publish.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        sandbox = SpawnerSandbox(self.driver)
        await sandbox.start()
        self.slugs = SlugStore(self.folder / "slugs")
        self.repos = Repositories(self.folder, Path(hook.__file__))
        builder = Builder(
            BuildSettings(self.folder / "work", timeout=self.timeout), FixedClock(1_000.0),
            sandbox=sandbox, slugs=self.slugs, config_vars=self.config_vars, uid=self.uid,
            publish=self.publish, announce=lambda app_id, text: self.announced.append((app_id, text)),
        )  # fmt: skip
        pushes = PushServer(self.folder / "s", self.repos, builder)
        await pushes.start()
        app = GitHttp(self.repos, pushes, self.authorize)
        server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off")
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it no other way
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://heroku:{KEY}@127.0.0.1:{port}"
        try:
            yield
        finally:
            server.should_exit = True
            await serving
            await pushes.close()
            await sandbox.close()


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A git host that runs in a thread of its own, so that a test may simply run git.

    Its parameter is the sandbox driver; without one it is the strongest that works here.
    """
    with tempfile.TemporaryDirectory(prefix="git-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        host = Host(Path(folder), driver=getattr(request, "param", None))
        ready = threading.Event()
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()

        async def serve() -> None:
            async with host.running():
                ready.set()
                await stop.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        try:
            assert ready.wait(20)
            yield host
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


@dataclass
class Repo:
    """A developer's working copy."""

    folder: Path

    def git(self, *words: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0", "LANG": "C.UTF-8",
        }  # fmt: skip
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "protocol.version=2"]
        done = subprocess.run(
            ["git", *identity, *words], cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        assert not ok or done.returncode == 0, done.stderr
        return done

    def commit(self, files: dict[str, str | bytes]) -> str:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", "work")
        return self.git("rev-parse", "HEAD").stdout.strip()

    def start_push(self, url: str, *refs: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["git", "push", url, *refs],
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"},
        )

    def push(self, url: str, *refs: str, ok: bool = True, options: Sequence[str] = ()) -> str:
        done = self.git("push", *options, url, *(refs or ("main",)), ok=ok)
        assert ok or done.returncode != 0
        return done.stderr


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """An empty working copy."""
    repo = Repo(tmp_path / "checkout")
    repo.folder.mkdir()
    repo.git("init", "--quiet", "--initial-branch=main")
    return repo
