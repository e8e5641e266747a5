"""What the endpoints work with, and how they get at it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from platform_core.addons.manifests import Catalog
from platform_core.addons.oauth import TokenExchange
from platform_core.addons.service import AddOns
from platform_core.addons.sharing import Sharing
from platform_core.base.clock import Clock
from platform_core.models.logs import LogRouter
from platform_core.models.runtime import DynoManager
from platform_core.releases.background import Background
from platform_core.releases.output import ReleaseOutputs
from platform_core.releases.service import Releases
from platform_core.store.database import Store


@dataclass(frozen=True, slots=True)
class Urls:
    """Where clients reach the platform."""

    api: str
    """Origin of the Platform API, without a slash at its end."""
    git_host: str
    """``host:port`` of git over TLS."""
    web: str
    """An app's web address, with ``<app>`` in place of its name."""

    def web_url(self, app_name: str) -> str:
        """Return an app's web address."""
        return self.web.replace("<app>", app_name)

    def git_url(self, app_name: str) -> str:
        """Return where an app's code is pushed to."""
        return f"https://{self.git_host}/{app_name}.git"


@dataclass(frozen=True, slots=True)
class Platform:
    """The rooms below the API."""

    store: Store
    releases: Releases
    catalog: Catalog
    addons: AddOns
    sharing: Sharing
    tokens: TokenExchange
    logs: LogRouter
    outputs: ReleaseOutputs
    dynos: DynoManager
    background: Background
    forget_code: Callable[[str], Awaitable[None]]
    """Removes an app's repository and build cache, by its id."""
    closing: asyncio.Event
    """Set when the program stops, so that streams end instead of being cut."""
    clock: Clock
    urls: Urls


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


PlatformDep = Annotated[Platform, Depends(_platform)]
"""The rooms below, as a parameter of an endpoint."""
