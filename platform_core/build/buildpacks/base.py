"""What a buildpack is, and what it is given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from platform_core.base.sandbox.spec import Bind
    from platform_core.build.output import BuildOutput


class BuildFailed(InvalidInput):
    """The app cannot be built as it is; the message is for its developer."""


class RunStep(Protocol):
    """Runs a program of the build in the sandbox, its output going to the build log."""

    async def __call__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        """Run ``argv`` in the app's folder and return the exit code; ``env`` is added to the build's own."""


@dataclass(frozen=True, slots=True)
class BuildContext:
    """One build. Folders come twice: as the host sees them, and as a program in the sandbox does."""

    app_dir: Path
    """On the host. Only to be read, or written before the first step ran: later it may hold traps."""
    app: str
    """In the sandbox."""
    cache: str
    tools: Mapping[str, str]
    """Our own tools by name, as the sandbox sees them."""
    run: RunStep
    out: BuildOutput


class Buildpack(Protocol):
    """One language."""

    @property
    def name(self) -> str:
        """How the build log calls it."""

    def detect(self, app_dir: Path) -> bool:
        """Tell by its files whether the app is of this language."""

    def tools(self) -> Sequence[Bind]:
        """Programs of ours that the steps need, with the path at which they want them."""

    async def compile(self, context: BuildContext) -> Mapping[str, str]:
        """Build in place; return default commands by process type.

        Raises:
            BuildFailed: it cannot be built; the message says why and what to do.
        """
