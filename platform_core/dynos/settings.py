"""What the dyno manager can be told; the defaults are Heroku's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from platform_core.dynos.backoff import CrashPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from platform_core.base.sandbox.spec import Bind


@dataclass(frozen=True, slots=True)
class DynoSettings:
    """Times in seconds, sizes in bytes."""

    folder: Path
    """Where slugs are unpacked and dynos have their file systems."""
    services: tuple[tuple[str, int], ...] = ()
    """Host endpoints (host, port) that every dyno reaches at 127.0.0.1 on the same port."""
    binds: tuple[Bind, ...] = ()
    """More of the host that every dyno sees read-only, such as a language runtime outside of /usr."""
    crash_policy: CrashPolicy = field(default_factory=CrashPolicy)
    boot_timeout: float = 60.0
    exit_timeout: float = 30.0
    drain_timeout: float = 10.0
    """How long a web dyno that is being replaced may finish requests before it gets SIGTERM."""
    shutdown_timeout: float = 4.0
    """The same as ``exit_timeout`` when the whole platform stops."""
    release_timeout: float = 3600.0
    memory_interval: float = 20.0
    memory_hard_factor: int = 2
    """The kernel's limit as a multiple of the dyno size's quota."""
    output_bytes_per_second: int = 8 << 20
    """What one dyno may print; beyond it lines are dropped and counted."""
