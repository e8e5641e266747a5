"""What runs: the dyno manager's view of an app, its dynos, and the ports around it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from platform_core.models.apps import Process


class DynoState(StrEnum):
    """The states that `heroku ps` shows."""

    STARTING = "starting"
    UP = "up"
    CRASHED = "crashed"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Dyno:
    """One running (or crashed) process of an app. ``updated_at`` in Unix seconds."""

    id: str
    app_id: str
    name: str
    type: str
    command: str
    size: str
    state: DynoState
    updated_at: float
    release_version: int
    release_id: str | None = None


@dataclass(frozen=True, slots=True)
class RunSpec:
    """All that the dyno manager must know to run the current release of an app."""

    app_id: str
    app_name: str
    release_version: int
    release_id: str
    slug_sha256: str
    slug_commit: str
    slug_path: Path
    config_vars: Mapping[str, str]
    processes: Sequence[Process]
    maintenance: bool
    uid: int
    """The host uid this app's processes drop to; one per app, never shared."""
    release_created_at: float = 0.0
    """Unix seconds."""


class RunSpecs(Protocol):
    """Where the dyno manager reads what should run; implemented by the store."""

    def run_spec(self, app_id: str) -> RunSpec | None:
        """Return what should run now, or None while the app has no slug or is gone."""

    def app_ids(self) -> Sequence[str]:
        """Return every app there is, for start-up."""


class DynoManager(Protocol):
    """Keeps what runs equal to what should run. All methods belong to the event loop's thread."""

    async def reconcile(self, app_id: str) -> None:
        """Bring the app's dynos in line with its run spec: a new release restarts, a new quantity scales."""

    def dynos(self, app_id: str) -> Sequence[Dyno]:
        """Return the app's dynos, by type and number."""

    async def restart(self, app_id: str, selector: str | None = None) -> None:
        """Restart all dynos, those of a type (``web``) or one (``web.1``).

        Raises:
            NotFound: the selector names nothing.
        """

    async def stop(self, app_id: str, selector: str) -> None:
        """Stop a dyno or a type until its next restart, scale or release.

        Raises:
            NotFound: the selector names nothing.
        """

    async def run_release_phase(self, spec: RunSpec, command: str) -> int:
        """Run the ``release:`` command of a new release to its end; return the exit code."""

    async def destroy(self, app_id: str) -> None:
        """Stop everything the app runs and forget it."""
