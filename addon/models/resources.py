"""An add-on resource: what a platform provisioned, and how its logs come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addon.models.accounts import Account


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the Partner API."""

    uuid: str
    account: Account
    drain_user: str
    log_drain_token: str | None
    deprovisioned: bool


@dataclass(frozen=True, slots=True)
class Provision:
    """What a provision request asks for; fields we do not use are left out."""

    uuid: str
    name: str
    plan: str
    region: str | None = None
    callback_url: str | None = None
    log_drain_token: str | None = None
    options: str = "{}"
    """The command line's extras as JSON text."""
