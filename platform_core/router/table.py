"""The route table: which app a host name means, and where its requests go now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from platform_core.models.routing import AppRoute, WebState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


class RouteTable:
    """The `Routes` that the router reads. Belongs to the event loop's thread."""

    def __init__(
        self, domain: str = "localhost", find_app: Callable[[str], Awaitable[str | None]] | None = None
    ) -> None:
        """Serve ``<app>.<domain>`` and custom domains.

        ``find_app`` returns the id of the app with a name, or None; it is asked about names without a route,
        so that an app that was never released gets its own answer (H81).
        """
        self._suffix = f".{domain}"
        self._find_app = find_app
        self._routes: dict[str, AppRoute] = {}
        self._ids_by_name: dict[str, str] = {}
        self._ids_by_domain: dict[str, str] = {}
        self._changes: dict[str, asyncio.Event] = {}

    def publish(self, route: AppRoute) -> None:
        """Make ``route`` the app's route from now on and wake who waits for it."""
        self._forget_name(route.app_id)
        self._routes[route.app_id] = route
        self._ids_by_name[route.app_name] = route.app_id
        self._wake(route.app_id)

    def withdraw(self, app_id: str) -> None:
        """Forget an app and its domains."""
        self._forget_name(app_id)
        self._routes.pop(app_id, None)
        self.set_domains(app_id, ())
        self._wake(app_id)

    def set_domains(self, app_id: str, hostnames: Sequence[str]) -> None:
        """Make these the app's custom domains."""
        self._ids_by_domain = {name: one for name, one in self._ids_by_domain.items() if one != app_id}
        self._ids_by_domain.update({name.lower(): app_id for name in hostnames})

    def get(self, app_id: str) -> AppRoute | None:
        """Return an app's route."""
        return self._routes.get(app_id)

    async def find(self, host: str) -> AppRoute | None:
        """Return the route for a Host header's value; None when no app has that name."""
        hostname = _hostname(host)
        domain_owner = self._ids_by_domain.get(hostname)
        if domain_owner is not None:
            return self._routes.get(domain_owner)
        if not hostname.endswith(self._suffix):
            return None
        name = hostname.removesuffix(self._suffix)
        app_id = self._ids_by_name.get(name)
        if app_id is not None:
            return self._routes[app_id]
        unreleased = None if self._find_app is None else await self._find_app(name)
        return None if unreleased is None else AppRoute(unreleased, name, WebState.BLANK)

    async def changed(self, app_id: str) -> None:
        """Wait for the next publication of an app's route."""
        await self._changes.setdefault(app_id, asyncio.Event()).wait()

    def _wake(self, app_id: str) -> None:
        event = self._changes.pop(app_id, None)
        if event is not None:
            event.set()

    def _forget_name(self, app_id: str) -> None:
        old = self._routes.get(app_id)
        if old is not None and self._ids_by_name.get(old.app_name) == app_id:
            del self._ids_by_name[old.app_name]


def _hostname(host: str) -> str:
    """Return the name in ``name[:port]``, in lower case and without a final dot."""
    name, _colon, port = host.rpartition(":")
    if not name or not port.isdigit():
        name = host
    return name.lower().rstrip(".")
