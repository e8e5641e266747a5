"""Add-ons: what is on offer, what was provisioned, and where it is attached."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan of a service. ``name`` is the slug without the service; the price is in cents a month."""

    name: str
    human_name: str
    description: str
    price_cents: int
    default: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """An add-on service as its vendor's manifest declares it."""

    id: str
    human_name: str
    docs_url: str | None
    plans: Sequence[Plan]
    config_vars: Sequence[str]
    config_vars_prefix: str
    requires: frozenset[str]
    base_url: str
    sso_url: str
    password: str
    sso_salt: str
    client_secret: str

    def plan(self, name: str) -> Plan | None:
        """Look a plan up by its slug."""
        return next((plan for plan in self.plans if plan.name == name), None)

    @property
    def default_plan(self) -> Plan:
        """The plan that is taken when none is named."""
        return next((plan for plan in self.plans if plan.default), self.plans[0])


class AddOnState(StrEnum):
    """Where an add-on stands in its life."""

    PROVISIONING = "provisioning"
    PROVISIONED = "provisioned"
    DEPROVISIONING = "deprovisioning"
    DEPROVISIONED = "deprovisioned"


@dataclass(frozen=True, slots=True)
class AddOn:
    """A provisioned resource. ``name`` is unique on the platform; times are Unix seconds."""

    id: str
    name: str
    app_id: str
    app_name: str
    service: str
    plan: str
    state: AddOnState
    provider_id: str | None
    config: Mapping[str, str]
    """The vendor's config vars under the vendor's own names."""
    config_prefix: str
    """The prefix of those names, which an attachment's name replaces."""
    message: str | None
    log_drain_url: str | None
    log_drain_token: str | None
    options: Mapping[str, str]
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Attachment:
    """An add-on under a name in an app; the name replaces the vendor's config var prefix."""

    id: str
    name: str
    addon: AddOn
    app_id: str
    app_name: str
    namespace: str | None
    created_at: float
    updated_at: float

    @property
    def config_vars(self) -> Mapping[str, str]:
        """The config vars that the app sees: the vendor's, under this attachment's name.

        Nothing before the add-on is provisioned, whatever the vendor has set so far.
        """
        if self.addon.state is not AddOnState.PROVISIONED:
            return {}
        return {self.var_name(name): value for name, value in self.addon.config.items()}

    def var_name(self, vendor_name: str) -> str:
        """Return what one of the vendor's config vars is called in the app."""
        prefix = self.addon.config_prefix
        if vendor_name == prefix or vendor_name.startswith(f"{prefix}_"):
            return self.name + vendor_name[len(prefix) :]
        return vendor_name
