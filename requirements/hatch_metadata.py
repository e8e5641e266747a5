"""Let hatchling take the direct dependencies from run.in, so that they are named once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RunRequirements(MetadataHookInterface):
    """Fill ``project.dependencies`` from ``requirements/run.in``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the dependencies; versions are left to the hash lock beside it."""
        lines = Path(self.root, "requirements", "run.in").read_text(encoding="utf-8").splitlines()
        metadata["dependencies"] = [line for line in lines if line and not line.startswith(("#", "-"))]
