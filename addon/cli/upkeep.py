"""``sluice fsck``, ``backup`` and the operator's other commands: the add-on's program on a home."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from addon.cli.failures import Exit

if TYPE_CHECKING:
    from pathlib import Path


def upkeep(command: str, home: Path, *options: str) -> Exit:
    """Run a command of ``python -m addon.upkeep``; what it prints is ours."""
    argv = [sys.executable, "-m", "addon.upkeep", command, "--home", str(home.absolute()), *options]
    return Exit.OK if subprocess.run(argv, check=False).returncode == 0 else Exit.ERROR
