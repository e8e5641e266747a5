"""Which dynos a release wants, and what must be done to get there from those there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.dynos.run import DynoSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from platform_core.models.runtime import RunSpec

RELEASE = "release"
"""The process type that runs once per release and is never scaled."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Dyno names by what must happen to them."""

    start: Sequence[str]
    replace: Sequence[str]
    stop: Sequence[str]


def wanted_dynos(release: RunSpec) -> dict[str, DynoSpec]:
    """Return the release's dynos by name (``web.1``), types in their given order, numbers upwards."""
    return {
        name: DynoSpec.of(release, name, process.command, process.size)
        for process in release.processes
        if process.type != RELEASE
        for name in (f"{process.type}.{number}" for number in range(1, process.quantity + 1))
    }


def plan(current: Mapping[str, DynoSpec], wanted: Mapping[str, DynoSpec]) -> Plan:
    """Compare what is there with what is wanted; what differs in release, command or size is replaced."""
    return Plan(
        start=[name for name in wanted if name not in current],
        replace=[name for name in wanted if name in current and _differs(current[name], wanted[name])],
        stop=[name for name in current if name not in wanted],
    )


def select(names: Sequence[str], selector: str | None) -> list[str]:
    """Return the names that ``selector`` means: all (None), a type (``web``) or one dyno (``web.1``)."""
    return [name for name in names if selector in {None, name, name.partition(".")[0]}]


def sort_key(name: str) -> tuple[str, int]:
    """Order dynos by type and number: ``web.2`` before ``web.10``."""
    kind, _dot, number = name.partition(".")
    return kind, int(number)


def _differs(one: DynoSpec, other: DynoSpec) -> bool:
    return (one.release.release_id, one.command, one.size) != (
        other.release.release_id,
        other.command,
        other.size,
    )
