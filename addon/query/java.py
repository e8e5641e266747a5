"""Where Java is: Spark needs it, also inside the sandbox."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from addon.query.worker import QueryFailed
from platform_core.base.sandbox.spec import Bind

if TYPE_CHECKING:
    from collections.abc import Mapping

_SYSTEM = Path("/usr")
"""Always shown in a sandbox."""


def java_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the Java that ``JAVA_HOME`` names, else of the ``java`` on the path.

    Raises:
        QueryFailed: there is none.
    """
    named = environment.get("JAVA_HOME")
    if named:
        found = shutil.which("java", path=str(Path(named) / "bin"))
    else:
        found = shutil.which("java", path=environment.get("PATH", os.defpath))
    if found is None:
        raise QueryFailed(
            "query",
            "The engine spark needs Java 17 or newer, and there is none on this machine.",
            hint="Install openjdk-17-jre-headless or set JAVA_HOME where the service runs; or use duckdb.",
        )
    return Path(found).resolve().parent.parent


def java_binds(home: Path) -> list[Bind]:
    """Return what a sandbox must be shown for this Java to run in it."""
    return [] if home.is_relative_to(_SYSTEM) else [Bind(home, str(home))]
