"""The add-on's manifest, as a platform reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from addon.models.accounts import PLANS, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.provisioning.credentials import Credentials

SERVICE = "sluice"
PREFIX = "TREASURE_DATA"
CONFIG_VARS = (f"{PREFIX}_API_KEY", f"{PREFIX}_API_SERVER", f"{PREFIX}_URL")
DEFAULT_PLAN = "nano"


def manifest(credentials: Credentials, base_url: str, sso_url: str, docs_url: str) -> dict[str, Any]:
    """Return the manifest; ``base_url`` and ``sso_url`` are https URLs of the TLS listener."""
    endpoints = {"base_url": base_url, "sso_url": sso_url}
    return {
        "id": SERVICE,
        "name": "Sluice",
        "human_name": "Sluice",
        "docs_url": docs_url,
        "plans": [_plan(plan) for plan in PLANS.values()],
        "api": {
            "version": "3",
            "config_vars": list(CONFIG_VARS),
            "config_vars_prefix": PREFIX,
            "password": credentials.provider_password,
            "sso_salt": credentials.sso_salt,
            "regions": ["us", "eu", "*"],
            "requires": ["syslog_drain", "many_per_app", "attachable"],
            "production": endpoints,
            "test": endpoints,
        },
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "human_name": plan.human_name,
        "description": limits_text(plan),
        "price_cents": plan.price_cents,
        "default": plan.name == DEFAULT_PLAN,
    }


def limits_text(plan: Plan) -> str:
    """Return a plan's limits in one sentence."""
    count = plan.concurrent_queries
    queries, each = ("1 query", "") if count == 1 else (f"{count} queries", " each")
    return (
        f"{plan.rows_per_month:,} rows a month, {plan.stored_bytes >> 30:,} GiB stored, kept "
        f"{plan.retention_s // 86_400} days, {plan.schedules:,} schedules, {queries} at once of up to "
        f"{plan.query_timeout_s // 60} minutes and {plan.query_memory_bytes >> 30} GiB of memory{each}"
    )


def config_vars(api_key: str, server: str) -> Mapping[str, str]:
    """Return a resource's config vars; ``server`` is the HTTP listener's URL."""
    scheme, _, host = server.partition("://")
    return {
        f"{PREFIX}_API_KEY": api_key,
        f"{PREFIX}_API_SERVER": server,
        f"{PREFIX}_URL": f"{scheme}://{api_key.replace('/', ':')}@{host}/",
    }
