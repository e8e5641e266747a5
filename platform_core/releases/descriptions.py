"""How Heroku words the descriptions of releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

INITIAL = "Initial release"
ENABLE_LOGPLEX = "Enable Logplex"
_SHORT_COMMIT = 8


def deploy(commit: str) -> str:
    """``Deploy 1a2b3c4d``."""
    return f"Deploy {commit[:_SHORT_COMMIT]}"


def config_change(changes: Mapping[str, str | None]) -> str:
    """``Set A, B config vars``, ``Remove C config vars``, or both."""
    given = [name for name, value in changes.items() if value is not None]
    removed = [name for name, value in changes.items() if value is None]
    parts = [f"{verb} {', '.join(names)}" for verb, names in (("Set", given), ("Remove", removed)) if names]
    return f"{', '.join(parts)} config vars"


def attach(attachment: str, addon: str) -> str:
    """``Attach DATABASE (@ref:postgresql-curved-12345)``."""
    return f"Attach {attachment} (@ref:{addon})"


def detach(attachment: str, addon: str) -> str:
    """``Detach DATABASE (@ref:postgresql-curved-12345)``."""
    return f"Detach {attachment} (@ref:{addon})"


def addon_update(attachment: str, service: str) -> str:
    """``Update DATABASE by heroku-postgresql``: the vendor changed its config vars."""
    return f"Update {attachment} by {service}"


def rollback(version: int) -> str:
    """``Rollback to v3``."""
    return f"Rollback to v{version}"
