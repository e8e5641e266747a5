"""Apps, their releases and their formation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who owns apps and carries an API key."""

    id: str
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class App:
    """A named thing that code is pushed to. Times are Unix seconds."""

    id: str
    name: str
    owner: Account
    created_at: float
    updated_at: float
    maintenance: bool = False
    stack: str = "heroku-24"
    region: str = "us"
    buildpack: str | None = None
    released_at: float | None = None


@dataclass(frozen=True, slots=True)
class Slug:
    """A built app: a zstd-compressed tar in the slug store, named by its SHA-256."""

    id: str
    app_id: str
    sha256: str
    size: int
    commit: str
    process_types: Mapping[str, str]
    """Process type to command, from the Procfile or the buildpack's defaults."""
    buildpack: str
    created_at: float


class ReleaseStatus(StrEnum):
    """Where a release stands."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Release:
    """A slug and a set of config vars, numbered per app; append-only."""

    id: str
    app_id: str
    version: int
    description: str
    user_email: str
    created_at: float
    slug: Slug | None
    config_vars: Mapping[str, str]
    status: ReleaseStatus = ReleaseStatus.SUCCEEDED
    current: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """A process type of the formation."""

    app_id: str
    type: str
    command: str
    quantity: int
    size: str


@dataclass(frozen=True, slots=True)
class DynoSize:
    """A dyno size: its limits, and its price for display. Memory in bytes, price in cents a month."""

    name: str
    memory: int
    max_pids: int
    cpu_cores: float
    price_cents: int


_MIB = 1 << 20
DYNO_SIZES: Mapping[str, DynoSize] = {
    size.name: size
    for size in (
        DynoSize("Eco", 512 * _MIB, 256, 1.0, 500),
        DynoSize("Basic", 512 * _MIB, 256, 1.0, 700),
        DynoSize("Standard-1X", 512 * _MIB, 256, 1.0, 2500),
        DynoSize("Standard-2X", 1024 * _MIB, 512, 2.0, 5000),
        DynoSize("Performance-M", 2560 * _MIB, 16384, 4.0, 25000),
        DynoSize("Performance-L", 14336 * _MIB, 32768, 8.0, 50000),
    )
}


def dyno_size(name: str) -> DynoSize | None:
    """Look a size up by its name, whatever the case (the CLI sends ``standard-2x``)."""
    return next((size for size in DYNO_SIZES.values() if size.name.lower() == name.lower()), None)
