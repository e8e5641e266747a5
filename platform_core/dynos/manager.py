"""The dyno manager: one runner per app, kept equal to what the run specs say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from platform_core.base.clock import SystemClock
from platform_core.base.errors import NotFound, Unavailable
from platform_core.base.logs import get_logger
from platform_core.dynos import messages
from platform_core.dynos.app_runner import AppRunner
from platform_core.dynos.formation import RELEASE
from platform_core.dynos.run import DynoRun, DynoSpec, Host
from platform_core.dynos.slugs import SlugCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from platform_core.base.clock import Clock
    from platform_core.base.sandbox.spec import Sandbox
    from platform_core.dynos.settings import DynoSettings
    from platform_core.models.logs import LogWriter
    from platform_core.models.routing import Routes
    from platform_core.models.runtime import Dyno, RunSpec, RunSpecs

_START_FAILED = 126
"""Exit code of a release command that could not even start, as a shell says "cannot execute"."""
log = get_logger(__name__)


class SandboxDynoManager:
    """The `DynoManager` that runs dynos in a sandbox on this machine.

    Dynos do not outlive it: `start` starts everything anew, `close` stops everything.
    """

    def __init__(
        self,
        run_specs: RunSpecs,
        sandbox: Sandbox,
        log_writer: LogWriter,
        routes: Routes,
        settings: DynoSettings,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Use a sandbox that somebody else starts and closes."""
        self._run_specs = run_specs
        self._routes = routes
        self._host = Host(sandbox, log_writer, SlugCache(settings.folder), settings, clock or SystemClock())
        self._runners: dict[str, AppRunner] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._closed = False
        self._starting = True
        """Not all apps are known yet, so no slug may be taken for unused."""

    async def start(self) -> None:
        """Start every app's dynos."""
        for app_id in await asyncio.to_thread(self._run_specs.app_ids):
            await self.reconcile(app_id)
        self._starting = False
        await self._forget_slugs()

    async def close(self) -> None:
        """Stop every dyno, within about ``shutdown_timeout`` seconds."""
        self._closed = True
        timeout = self._host.settings.shutdown_timeout
        await asyncio.gather(*(runner.close(timeout) for runner in self._runners.values()))
        self._runners.clear()

    async def reconcile(self, app_id: str) -> None:
        """Bring the app's dynos in line with its run spec; returns when that is under way."""
        async with self._locks.setdefault(app_id, asyncio.Lock()):
            release = await asyncio.to_thread(self._run_specs.run_spec, app_id)
            if self._closed:
                return
            if release is None:
                await self._drop(app_id)
                return
            runner = self._runners.get(app_id)
            if runner is None:
                runner = self._runners[app_id] = AppRunner(self._host, self._routes, release)
            runner.apply(release)
        await self._forget_slugs()

    def dynos(self, app_id: str) -> Sequence[Dyno]:
        """Return the app's dynos, by type and number."""
        runner = self._runners.get(app_id)
        return [] if runner is None else runner.dynos()

    async def restart(self, app_id: str, selector: str | None = None) -> None:
        """Restart all dynos, those of a type or one.

        Raises:
            NotFound: the selector names nothing.
        """
        runner = self._runners.get(app_id)
        if runner is not None:
            if selector is not None or runner.dynos():
                runner.restart(selector)
        elif selector is not None:
            raise NotFound(f"Couldn't find that process type or dyno ({selector}).")

    async def stop(self, app_id: str, selector: str) -> None:
        """Stop a dyno or a type until its next restart, scale or release.

        Raises:
            NotFound: the selector names nothing.
        """
        runner = self._runners.get(app_id)
        if runner is None:
            raise NotFound(f"Couldn't find that process type or dyno ({selector}).")
        runner.stop(selector)

    async def run_release_phase(self, spec: RunSpec, command: str) -> int:
        """Run the ``release:`` command of a new release to its end; return the exit code."""
        size = next((process.size for process in spec.processes if process.type == RELEASE), "Basic")
        run = DynoRun(self._host, DynoSpec.of(spec, f"{RELEASE}.1", command, size))
        try:
            await run.start()
        except Unavailable as error:
            run.say(messages.start_failed(str(error)))
            return _START_FAILED
        end = asyncio.ensure_future(run.wait())
        try:
            done, _pending = await asyncio.wait([end], timeout=self._host.settings.release_timeout)
            if not done:
                await run.stop(self._host.settings.exit_timeout)
            return (await end).code
        except asyncio.CancelledError:
            if run.process is not None:
                run.process.kill()
            await asyncio.shield(end)
            raise

    async def destroy(self, app_id: str) -> None:
        """Stop everything the app runs and forget it."""
        async with self._locks.setdefault(app_id, asyncio.Lock()):
            await self._drop(app_id)
        self._locks.pop(app_id, None)
        await self._forget_slugs()

    async def _forget_slugs(self) -> None:
        """Keep unpacked only what runs now."""
        if not self._starting:
            await self._host.slugs.forget({runner.slug_sha256 for runner in self._runners.values()})

    async def _drop(self, app_id: str) -> None:
        self._routes.withdraw(app_id)
        runner = self._runners.pop(app_id, None)
        if runner is not None:
            await runner.close(self._host.settings.exit_timeout)
