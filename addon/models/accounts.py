"""Accounts, keys and plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

_GIB = 1 << 30
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan and its limits; every limit is stated to the customer and enforced."""

    name: str
    human_name: str
    price_cents: int
    rows_per_month: int
    stored_bytes: int
    retention_s: int
    concurrent_queries: int
    query_memory_bytes: int
    query_timeout_s: int
    schedules: int


PLANS: Mapping[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan("nano", "Nano", 0, 10_000_000, 1 * _GIB, 30 * _DAY, 1, 1 * _GIB, 300, 20),
        Plan("standard", "Standard", 9_900, 1_000_000_000, 100 * _GIB, 365 * _DAY, 4, 2 * _GIB, 3600, 500),
        Plan(
            "premium",
            "Premium",
            99_900,
            50_000_000_000,
            2_000 * _GIB,
            1825 * _DAY,
            16,
            4 * _GIB,
            21600,
            5_000,
        ),
    )
}


class AccountState(StrEnum):
    """Where an account stands; a deprovisioned one answers 410 and holds no data."""

    PROVISIONED = "provisioned"
    DEPROVISIONED = "deprovisioned"


class Right(StrEnum):
    """What an API key may do; ``master`` may do all."""

    MASTER = "master"
    WRITE = "write"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant: what one add-on resource (or the local development account) owns."""

    id: int
    resource_uuid: str | None
    name: str
    plan: Plan
    state: AccountState
    created_at: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from: the account and what its key allows."""

    account: Account
    right: Right


@dataclass(frozen=True, slots=True)
class DrainIdentity:
    """Who sends a logplex body: found by the drain's credentials, never by its text."""

    account: Account
    app: str
    """What rows' ``app`` column says: the add-on resource's name, as the platform gave it."""
    drain_token: str
