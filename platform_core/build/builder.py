"""The builder: a pushed commit in, a published release out, the log of it to whoever pushes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from platform_core.base.errors import SluiceError, UserError
from platform_core.base.ids import new_uuid
from platform_core.base.logs import get_logger
from platform_core.base.sandbox.ownership import own
from platform_core.base.sandbox.spec import Bind
from platform_core.build.buildpacks.base import BuildContext, BuildFailed
from platform_core.build.buildpacks.python import PythonBuildpack
from platform_core.build.environment import build_env, host_binds
from platform_core.build.output import BuildOutput
from platform_core.build.procfile import parse_procfile
from platform_core.build.source import checkout
from platform_core.build.steps import StepRunner
from platform_core.models.apps import Slug

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from platform_core.base.clock import Clock
    from platform_core.base.sandbox.spec import Sandbox
    from platform_core.build.buildpacks.base import Buildpack
    from platform_core.build.slug import SlugStore

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What is to be built, for whom."""

    app_id: str
    app_name: str
    user_email: str
    repo: Path
    commit: str
    git_env: Mapping[str, str]
    """The environment in which git sees the commit: a push that is not accepted yet is in quarantine."""
    stack: str = "heroku-24"


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A finished build."""

    slug: Slug
    user_email: str


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a build: the number of its release and where the app answers."""

    version: int
    web_url: str


class Publish(Protocol):
    """Makes a build the app's release, its release phase included."""

    async def __call__(self, result: BuildResult, out: BuildOutput) -> Published:
        """Publish; ``out`` is the build log.

        Raises:
            UserError: the release phase failed, or the app is gone.
        """


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """Limits. ``root`` holds builds under way and the caches; times in seconds."""

    root: Path
    timeout: float = 15 * 60.0


class Builder:
    """Builds one push at a time per app."""

    def __init__(
        self,
        settings: BuildSettings,
        clock: Clock,
        *,
        sandbox: Sandbox,
        slugs: SlugStore,
        config_vars: Callable[[str], Awaitable[Mapping[str, str]]],
        uid: Callable[[str], Awaitable[int]],
        publish: Publish,
        announce: Callable[[str, str], None],
        buildpacks: Sequence[Buildpack] | None = None,
    ) -> None:
        """Build in ``sandbox`` under the app's ``uid``, keep slugs in ``slugs``, hand them to ``publish``.

        ``announce(app_id, text)`` writes a line of the API into the app's log.
        """
        self._settings = settings
        self._clock = clock
        self._sandbox = sandbox
        self._slugs = slugs
        self._config_vars = config_vars
        self._uid = uid
        self._publish = publish
        self._announce = announce
        self._under_way = 0
        self._buildpacks = [PythonBuildpack()] if buildpacks is None else list(buildpacks)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._builds = settings.root / "builds"
        self._caches = settings.root / "caches"
        shutil.rmtree(self._builds, ignore_errors=True)
        for folder in (self._builds, self._caches):
            folder.mkdir(parents=True, exist_ok=True, mode=0o711)

    async def build(self, request: BuildRequest, emit: Callable[[str], None]) -> bool:
        """Build and publish, telling ``emit`` line by line; False when the push must be rejected."""
        out = BuildOutput(emit)
        self._announce(request.app_id, f"Build started by user {request.user_email}")
        self._under_way += 1
        succeeded = False
        try:
            succeeded = await self._try_to_build(request, out)
        finally:  # also when whoever pushed has hung up
            self._under_way -= 1
            outcome = "succeeded" if succeeded else "failed -- check your build output"
            self._announce(request.app_id, f"Build {outcome}")
        return succeeded

    @property
    def busy(self) -> bool:
        """Whether a build is under way, whose slug nothing may point at yet."""
        return self._under_way > 0

    async def _try_to_build(self, request: BuildRequest, out: BuildOutput) -> bool:
        try:
            async with self._locks[request.app_id], asyncio.timeout(self._settings.timeout):
                await self._build(request, out)
        except TimeoutError:
            minutes = self._settings.timeout / 60
            out.error(f"The build took longer than {minutes:g} minutes.", "Make it shorter, then push again.")
        except UserError as error:
            out.error(error.message, *([error.hint] if error.hint else []))
        except SluiceError as error:
            _log.exception("build_failed", app=request.app_id)
            out.error(error.message, error.hint or "This is not your app's fault; try again later.")
        except Exception:  # noqa: BLE001 - whoever pushes must hear of it, whatever it is
            _log.exception("build_crashed", app=request.app_id)
            out.error(
                "The build failed for a reason of the platform's own.", "Try again; then ask its operator."
            )
        else:
            return True
        out.error("Push rejected, failed to build the app.")
        return False

    async def _build(self, request: BuildRequest, out: BuildOutput) -> None:
        work = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._builds))
        try:
            await asyncio.to_thread(
                work.chmod, 0o711
            )  # the build's uid must get through, where nothing is bound
            slug = await self._make_slug(request, work / "app", out)
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        out.step("Launching...")
        published = await self._publish(BuildResult(slug, request.user_email), out)
        out.line(f"Released v{published.version}")
        out.line(f"{published.web_url} deployed to Sluice")
        out.blank()
        out.plain("Verifying deploy... done.")

    async def _make_slug(self, request: BuildRequest, app_dir: Path, out: BuildOutput) -> Slug:
        out.step(f"Building on the {request.stack} stack")
        await asyncio.to_thread(app_dir.mkdir)
        ignored = await checkout(request.repo, request.commit, request.git_env, app_dir)
        if ignored:
            out.line(f"Left out by .slugignore: {', '.join(ignored)}")
        buildpack = self._detect(app_dir, out)
        process_types = _read_procfile(app_dir)
        defaults = await self._compile(request, buildpack, app_dir, out)
        process_types = {**defaults, **process_types}
        out.step("Discovering process types")
        out.line(f"Procfile declares types -> {', '.join(process_types) or '(none)'}")
        out.blank()
        out.step("Compressing...")
        sha256, size = await asyncio.to_thread(self._slugs.pack, app_dir)
        out.line(f"Done: {_megabytes(size)}")
        return Slug(
            id=new_uuid(),
            app_id=request.app_id,
            sha256=sha256,
            size=size,
            commit=request.commit,
            process_types=process_types,
            buildpack=buildpack.name,
            created_at=self._clock.now(),
        )

    def _detect(self, app_dir: Path, out: BuildOutput) -> Buildpack:
        out.step("Determining which buildpack to use for this app")
        for buildpack in self._buildpacks:
            if buildpack.detect(app_dir):
                out.step(f"{buildpack.name} app detected")
                return buildpack
        supported = ", ".join(buildpack.name for buildpack in self._buildpacks)
        raise BuildFailed(
            "No default language could be detected for this app.",
            hint=f"Supported here: {supported}. A Python app has a requirements.txt (it may be empty) in its "
            "root folder: add one, commit, and push again.",
        )

    async def _compile(
        self, request: BuildRequest, buildpack: Buildpack, app_dir: Path, out: BuildOutput
    ) -> Mapping[str, str]:
        uid = await self._uid(request.app_id)
        cache_dir = self._caches / request.app_id
        cache_dir.mkdir(exist_ok=True, mode=0o700)
        mapped = self._sandbox.isolation.own_files
        app = "/app" if mapped else str(app_dir)
        cache = "/cache" if mapped else str(cache_dir)
        tools = buildpack.tools()
        env = build_env(await self._config_vars(request.app_id), app, cache, request.stack)
        binds = [Bind(app_dir, "/app", writable=True), Bind(cache_dir, "/cache", writable=True), *tools]
        binds += host_binds(env, own_files=mapped)
        context = BuildContext(
            app_dir=app_dir,
            app=app,
            cache=cache,
            tools={bind.source.name: bind.target if mapped else str(bind.source) for bind in tools},
            run=_OwnedFirst(
                StepRunner(self._sandbox, out, env, "/app" if mapped else app, uid, binds),
                (app_dir, cache_dir),
                uid,
            ),
            out=out,
        )
        return await buildpack.compile(context)

    async def forget(self, app_id: str) -> None:
        """Remove an app's build cache."""
        self._locks.pop(app_id, None)
        await asyncio.to_thread(shutil.rmtree, self._caches / app_id, ignore_errors=True)


class _OwnedFirst:
    """Hands the folders over to the build's uid before its first step, and not before."""

    def __init__(self, runner: StepRunner, folders: Sequence[Path], uid: int) -> None:
        self._runner = runner
        self._folders = folders
        self._uid = uid
        self._done = False

    async def __call__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        if not self._done:
            self._done = True
            for folder in self._folders:
                await asyncio.to_thread(own, folder, self._uid)
        return await self._runner(argv, env=env)


def _read_procfile(app_dir: Path) -> Mapping[str, str]:
    path = app_dir / "Procfile"
    if not path.is_file():
        return {}
    with contextlib.closing(path.open("rb")) as file:
        return parse_procfile(file.read(1 << 20))


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f}M"
