"""Everything that runs for one app: its dynos, the change from one release to the next, its route."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from platform_core.base.errors import NotFound
from platform_core.dynos.formation import plan, select, sort_key, wanted_dynos
from platform_core.dynos.run import WEB
from platform_core.dynos.supervisor import Supervisor
from platform_core.models.routing import AppRoute, WebState
from platform_core.models.runtime import DynoState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from platform_core.dynos.run import DynoSpec, Host
    from platform_core.models.routing import Routes
    from platform_core.models.runtime import Dyno, RunSpec


class AppRunner:
    """The dynos of one app. A web dyno that is replaced serves on until its successor listens or crashes."""

    def __init__(self, host: Host, routes: Routes, release: RunSpec) -> None:
        """Start with no dynos; `apply` brings them."""
        self._host = host
        self._routes = routes
        self._release = release
        self._slots: dict[str, Supervisor] = {}
        self._outgoing: dict[str, list[Supervisor]] = {}
        """By slot, predecessors that still take requests."""
        self._farewells: dict[asyncio.Task[None], Supervisor] = {}
        self._closed = False

    def apply(self, release: RunSpec) -> None:
        """Make the app's dynos those of ``release``. Scaling also brings back what was stopped."""
        scaled = release.processes != self._release.processes
        self._release = release
        wanted = wanted_dynos(release)
        todo = plan({name: slot.spec for name, slot in self._slots.items()}, wanted)
        for name in todo.stop:
            self._dismiss(self._slots.pop(name), DynoState.DOWN)
            self._let_predecessors_go(name)
        for name in todo.start:
            self._launch(wanted[name])
        for name in todo.replace:
            self._replace(name, wanted[name])
        if scaled:
            for name in [name for name, slot in self._slots.items() if slot.stopping]:
                self._launch(wanted[name])
        self._publish()

    def restart(self, selector: str | None) -> None:
        """Replace the selected dynos by fresh ones.

        Raises:
            NotFound: the selector names nothing.
        """
        for name in self._selected(selector):
            self._replace(name, self._slots[name].spec)
        self._publish()

    def stop(self, selector: str) -> None:
        """Stop the selected dynos; they stay down until a restart, scaling or a release.

        Raises:
            NotFound: the selector names nothing.
        """
        for name in self._selected(selector):
            self._dismiss(self._slots[name], DynoState.DOWN)
            self._let_predecessors_go(name)
        self._publish()

    @property
    def slug_sha256(self) -> str:
        """The slug of the release that runs."""
        return self._release.slug_sha256

    def dynos(self) -> Sequence[Dyno]:
        """Return the app's dynos by type and number."""
        return [self._slots[name].snapshot() for name in sorted(self._slots, key=sort_key)]

    async def close(self, exit_timeout: float) -> None:
        """Stop everything without draining; what does not end in ``exit_timeout`` seconds is killed."""
        self._closed = True
        everyone = [
            *self._slots.values(),
            *(one for many in self._outgoing.values() for one in many),
            *self._farewells.values(),
        ]
        for one in everyone:
            one.leave(DynoState.DOWN)
        stops = [asyncio.ensure_future(one.ended(grace=exit_timeout)) for one in everyone]
        if stops:
            await asyncio.wait(stops, timeout=exit_timeout + 1)
        self._slots.clear()
        self._outgoing.clear()

    def _selected(self, selector: str | None) -> list[str]:
        names = select(list(self._slots), selector)
        if not names:
            raise NotFound(f"Couldn't find that process type or dyno ({selector}).")
        return names

    def _launch(self, spec: DynoSpec) -> None:
        slot = Supervisor(self._host, spec, lambda: self._on_change(spec.name))
        self._slots[spec.name] = slot
        slot.start()

    def _replace(self, name: str, spec: DynoSpec) -> None:
        old = self._slots[name]
        if old.backend is not None:
            self._outgoing.setdefault(name, []).append(old)
        elif not old.stopping:
            self._dismiss(old, DynoState.STARTING)
        self._launch(spec)

    def _on_change(self, name: str) -> None:
        slot = self._slots.get(name)
        if slot is not None and slot.settled:
            self._publish()  # first the successor gets requests, then the predecessor goes
            self._let_predecessors_go(name)
        self._publish()

    def _let_predecessors_go(self, name: str) -> None:
        for old in self._outgoing.pop(name, []):
            self._dismiss(old, DynoState.STARTING)

    def _dismiss(self, old: Supervisor, next_state: DynoState) -> None:
        if old.stopping:
            return
        old.leave(next_state)
        settings = self._host.settings
        goodbye = old.ended(grace=settings.exit_timeout, drain=settings.drain_timeout)
        task = asyncio.get_running_loop().create_task(goodbye)
        self._farewells[task] = old
        task.add_done_callback(lambda done: self._farewells.pop(done, None))

    def _publish(self) -> None:
        if self._closed:
            return
        web = [slot for slot in self._slots.values() if slot.spec.type == WEB and not slot.stopping]
        leaving = [old for many in self._outgoing.values() for old in many]
        backends = [slot.backend for slot in (*web, *leaving) if slot.backend is not None]
        self._routes.publish(
            AppRoute(
                self._release.app_id,
                self._release.app_name,
                _web_state(web, bool(backends)),
                backends,
                self._release.maintenance,
            )
        )


def _web_state(web: Sequence[Supervisor], reachable: bool) -> WebState:
    if reachable:
        return WebState.UP
    if not web:
        return WebState.NONE
    if any(slot.state is DynoState.STARTING for slot in web):
        return WebState.STARTING
    return WebState.CRASHED
