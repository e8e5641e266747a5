"""How the dyno manager tells the HTTP router where requests go, without either seeing the other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from contextlib import AbstractContextManager


class Backend(Protocol):
    """A web dyno that takes requests."""

    @property
    def dyno(self) -> str:
        """The dyno's name, as the router's log line shows it: ``web.1``."""

    async def connect(self) -> socket.socket:
        """Return a non-blocking socket connected to the dyno's port.

        Raises:
            OSError: refused (`ConnectionRefusedError`) or unreachable.
        """

    def lease(self) -> AbstractContextManager[None]:
        """Count one request as being served for the block; a dyno is stopped when none is, or time is up."""


class WebState(StrEnum):
    """What a request for an app meets."""

    BLANK = "blank"
    """Nothing was released yet (H81)."""
    NONE = "none"
    """No web dynos are wanted (H14)."""
    STARTING = "starting"
    """They boot; a request waits (H20)."""
    UP = "up"
    CRASHED = "crashed"
    """All of them are (H10)."""


@dataclass(frozen=True, slots=True)
class AppRoute:
    """Where one app's requests go now."""

    app_id: str
    app_name: str
    web: WebState
    backends: Sequence[Backend] = ()
    """The web dynos that are up."""
    maintenance: bool = False


class Routes(Protocol):
    """The router's table as the dyno manager writes it. All methods belong to the event loop's thread."""

    def publish(self, route: AppRoute) -> None:
        """Make ``route`` the app's route from now on; requests that wait for it go on."""

    def withdraw(self, app_id: str) -> None:
        """Forget an app."""
