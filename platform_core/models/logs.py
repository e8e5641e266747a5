"""The log router as the other rooms see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

PRI_APP = 190
"""local7.info: a dyno's stdout and stderr."""
PRI_ROUTER = 158
"""local3.info: the HTTP router's lines."""
PRI_PLATFORM = 45
"""syslog.notice: state changes, R codes, API events."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Where a channel's lines are also sent. ``token`` (``d.<uuid>``) tells the receiver who sends."""

    id: str
    app_id: str
    token: str
    url: str
    addon_id: str | None = None
    spill: bool = False
    """Keep what cannot be delivered on disk, up to a quota, instead of dropping it."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What a log session shows."""

    lines: int = 100
    tail: bool = False
    source: str | None = None
    dyno: str | None = None
    """A dyno's name (``web.1``) or a process type (``web``)."""


class LogWriter(Protocol):
    """The way in: never blocks, never raises; what does not fit is counted and announced (L10, L11)."""

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
        """Append lines (without their newline) to an app's channel.

        ``source`` is ``app`` or ``heroku``; ``process`` is ``web.1``, ``router``, ``api``, …; ``at`` is Unix
        seconds, default now. Lines over 10,000 bytes are split as Logplex splits them.
        """


class LogRouter(LogWriter, Protocol):
    """The whole log router."""

    def set_drains(self, app_id: str, drains: Sequence[Drain]) -> None:
        """Make these the channel's drains; ones that stay keep their buffer and connection."""

    def open_session(self, app_id: str, wanted: LogFilter) -> str:
        """Open a log session and return its unguessable id; valid until unclaimed for 6 minutes."""

    def stream(self, session_id: str, *, after: int | None = None) -> AsyncIterator[tuple[int, str] | None]:
        """Yield ``(event id, human-readable line)``: the backlog, then (tail sessions) what follows.

        ``after`` resumes behind an event id. ``None`` is a keep-alive every 30 s of silence.

        Raises:
            NotFound: no such session.
        """

    def forget(self, app_id: str) -> None:
        """Drop an app's channel, its sessions and drains."""
