"""Keeps one dyno running: starts it, watches its boot and memory, starts it again after a crash, stops it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from platform_core.base.errors import Unavailable
from platform_core.base.ids import new_uuid
from platform_core.base.logs import get_logger
from platform_core.dynos import messages
from platform_core.dynos.backend import DynoBackend
from platform_core.dynos.run import WEB, DynoRun, DynoSpec, Host
from platform_core.models.runtime import Dyno, DynoState

if TYPE_CHECKING:
    from collections.abc import Callable

    from platform_core.base.sandbox.spec import ExitStatus

_FIRST_LOOK_S = 0.02
_SLOWEST_LOOK_S = 0.2
log = get_logger(__name__)


class Supervisor:
    """One dyno of the formation, from its start until it is stopped for good."""

    def __init__(self, host: Host, spec: DynoSpec, changed: Callable[[], None]) -> None:
        """Supervise ``spec``; ``changed`` is called after every change of state."""
        self._host = host
        self.spec = spec
        self._changed = changed
        self.id = new_uuid()
        self.state = DynoState.STARTING
        self._since = host.clock.now()
        self.backend: DynoBackend | None = None
        """Where requests may go; None while it does not listen, or is leaving."""
        self._leaving: DynoBackend | None = None
        self._stopping = asyncio.Event()
        self._exit_timeout = host.settings.exit_timeout
        self._run: DynoRun | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._live(), name=f"dyno-{self.spec.name}")

    @property
    def settled(self) -> bool:
        """Whether the start has come to something: up or crashed."""
        return self.state is not DynoState.STARTING or self._stopping.is_set()

    @property
    def stopping(self) -> bool:
        """Whether it is on its way out."""
        return self._stopping.is_set()

    def snapshot(self) -> Dyno:
        """Return what the Platform API shows."""
        return Dyno(
            id=self.id,
            app_id=self.spec.release.app_id,
            name=self.spec.name,
            type=self.spec.type,
            command=self.spec.command,
            size=self.spec.size.name,
            state=self.state,
            updated_at=self._since,
            release_version=self.spec.release.release_version,
            release_id=self.spec.release.release_id,
        )

    def leave(self, next_state: DynoState) -> None:
        """Take no more requests and be stopped for good; `ended` does it.

        ``next_state`` is what the log says comes after: `DOWN`, or `STARTING` when another takes over.
        """
        if not self._stopping.is_set():
            self._stopping.set()
            self._leaving, self.backend = self.backend, None
            self._become(next_state)

    async def ended(self, *, grace: float, drain: float = 0.0) -> None:
        """See it out after `leave`: ``drain`` s for running requests, SIGTERM, ``grace`` s, SIGKILL."""
        self._exit_timeout = grace
        if self._leaving is not None and drain > 0:
            await self._leaving.drained(drain)
        if self._run is not None:
            await self._run.stop(grace)
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _live(self) -> None:
        policy = self._host.settings.crash_policy
        crashes = 0
        while True:
            up_seconds = await self._run_once()
            if self._stopping.is_set():
                return
            self._become(DynoState.CRASHED)
            crashes = policy.crashes_after(crashes, up_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(policy.delay(crashes)):
                    await self._stopping.wait()
                return
            self._become(DynoState.STARTING)

    async def _run_once(self) -> float:
        """Run until the end; return how many seconds it was up."""
        run = self._run = DynoRun(self._host, self.spec)
        try:
            await run.start()
        except Unavailable as error:
            log.warning(
                "dyno_start_failed", app=self.spec.release.app_id, dyno=self.spec.name, reason=str(error)
            )
            run.say(messages.start_failed(str(error)))
            return 0.0
        if self._stopping.is_set():
            await asyncio.gather(run.stop(self._exit_timeout), run.wait())
            return 0.0
        end = asyncio.ensure_future(run.wait())
        watch = asyncio.ensure_future(self._watch_memory(run))
        try:
            began = await self._boot(run, end)
            await end
        finally:
            watch.cancel()
            self.backend = None
        return 0.0 if began is None else self._host.clock.now() - began

    async def _boot(self, run: DynoRun, end: asyncio.Future[ExitStatus]) -> float | None:
        """Wait until it is up; return when that was, None when it did not come to that."""
        if self.spec.type == WEB and not await self._port_opens(run, end):
            return None
        if self._stopping.is_set():
            return None
        if run.port is not None and run.process is not None:
            self.backend = DynoBackend(self.spec.name, run.process, run.port)
        self._become(DynoState.UP)
        return self._host.clock.now()

    async def _port_opens(self, run: DynoRun, end: asyncio.Future[ExitStatus]) -> bool:
        """Look until the program listens, has ended or has taken too long (R10)."""
        limit = self._host.settings.boot_timeout
        look = _FIRST_LOOK_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not end.done():
                    if await run.listening():
                        return True
                    await asyncio.wait([end], timeout=look)
                    look = min(look * 1.5, _SLOWEST_LOOK_S)
                return False
        run.say(messages.boot_timeout(limit), messages.KILLING)
        if run.process is not None:
            run.process.kill()
        return False

    async def _watch_memory(self, run: DynoRun) -> None:
        """Say R14 for as long as it uses more than its quota."""
        quota = self.spec.size.memory
        while run.process is not None:
            await asyncio.sleep(self._host.settings.memory_interval)
            used = run.process.memory_usage()
            if used is not None and used > quota:
                run.say(messages.memory_in_use(used, quota), messages.R14)

    def _become(self, state: DynoState) -> None:
        if state is not self.state or self._stopping.is_set():
            before, self.state = self.state, state
            self._since = self._host.clock.now()
            if self._run is not None and before is not state:
                self._run.say(messages.state_changed(before, state))
        self._changed()
