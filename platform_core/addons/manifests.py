"""Vendors' manifests: one JSON file per service, read once at start and checked.

The format is Heroku's:
``id``, ``name``, ``api.{config_vars, config_vars_prefix, password, sso_salt, requires,
production{base_url, sso_url}, …}``. Ours are the keys ``human_name``, ``docs_url``, ``plans`` (a list of
``{name, human_name, description, price_cents, default}``) and ``api.client_secret`` (the OAuth secret, which
Heroku hands out apart from the manifest).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from platform_core.base.errors import InvalidInput
from platform_core.models.addons import Plan, Service
from platform_core.models.missing import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_SERVICE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_PLAN_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_CONFIG_VAR = re.compile(r"[A-Z][0-9A-Z_]+")
_REGIONS = frozenset({"us", "eu", "frankfurt", "oregon", "tokyo", "virginia", "*"})
_REQUIRES = frozenset({"syslog_drain", "many_per_app", "attachable", "app_info"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Catalog:
    """The services that apps can be given."""

    def __init__(self, services: Iterable[Service]) -> None:
        """Offer ``services``."""
        self._services = {service.id: service for service in services}

    def list(self) -> list[Service]:
        """Return all services by id."""
        return [self._services[name] for name in sorted(self._services)]

    def get(self, service_id: str) -> Service:
        """Return a service.

        Raises:
            Missing: it is not on offer here.
        """
        if service_id not in self._services:
            raise Missing("addon_service", f"Couldn't find the add-on service {service_id}.")
        return self._services[service_id]

    def find_plan(self, text: str) -> tuple[Service, Plan]:
        """Return what ``service:plan`` or ``service`` (its default plan) names.

        Raises:
            Missing: no such service or plan.
        """
        service_id, _, plan_name = text.partition(":")
        service = self.get(service_id)
        if not plan_name:
            return service, service.default_plan
        plan = service.plan(plan_name)
        if plan is None:
            known = ", ".join(f"{service.id}:{plan.name}" for plan in service.plans)
            raise Missing("plan", f"Couldn't find either the add-on service or the add-on plan of {text!r}. "
                                  f"There are: {known}.")  # fmt: skip
        return service, plan


def load_catalog(folder: Path | None) -> Catalog:
    """Read every ``*.json`` in ``folder``; no folder, or an empty one, is an empty catalog.

    Raises:
        InvalidInput: a manifest is wrong; the message names the file and the key.
    """
    if folder is None or not folder.is_dir():
        return Catalog(())
    services = [load_manifest(path) for path in sorted(folder.glob("*.json"))]
    doubled = {service.id for service in services if sum(other.id == service.id for other in services) > 1}
    if doubled:
        raise InvalidInput(f"Two manifests in {folder} have the id {min(doubled)}.")
    return Catalog(services)


def load_manifest(path: Path) -> Service:
    """Read and check one manifest.

    Raises:
        InvalidInput: it is wrong; the message names the file and the key.
    """
    try:
        document = json.loads(path.read_text())
        return parse_manifest(document)
    except (ValueError, InvalidInput) as error:
        raise InvalidInput(f"The add-on manifest {path} is wrong: {error}") from error


def parse_manifest(document: Any) -> Service:
    """Check a manifest's document.

    Raises:
        InvalidInput: the message names the key.
    """
    _check(isinstance(document, dict), "the manifest", "a JSON object")
    service_id = _text(document, "id")
    _check(_SERVICE_ID.fullmatch(service_id), "id", "lower-case letters, digits and dashes")
    api = document.get("api")
    _check(isinstance(api, dict), "api", "an object")
    where = api.get("production")
    _check(isinstance(where, dict), "api.production", "an object with base_url and sso_url")
    prefix = str(api.get("config_vars_prefix") or service_id.upper().replace("-", "_"))
    return Service(
        id=service_id,
        human_name=str(document.get("human_name") or document.get("name") or service_id),
        docs_url=document.get("docs_url"),
        plans=_plans(document.get("plans")),
        config_vars=_config_vars(api, prefix),
        config_vars_prefix=prefix,
        requires=_requires(api),
        base_url=_url(where, "base_url").rstrip("/"),
        sso_url=_url(where, "sso_url"),
        password=_text(api, "password"),
        sso_salt=_text(api, "sso_salt"),
        client_secret=str(api.get("client_secret") or ""),
    )


def _plans(given: Any) -> list[Plan]:
    _check(isinstance(given, list) and given, "plans", "a list with at least one plan")
    plans = [
        Plan(
            name=_text(plan, "name"),
            human_name=str(plan.get("human_name") or plan["name"]),
            description=str(plan.get("description") or ""),
            price_cents=int(plan.get("price_cents") or 0),
            default=bool(plan.get("default")),
        )
        for plan in given
    ]
    for plan in plans:
        _check(_PLAN_NAME.fullmatch(plan.name), f"plan {plan.name!r}", "lower-case letters, digits, dashes")
        _check(plan.price_cents >= 0, f"price_cents of {plan.name}", "zero or more")
    _check(len({plan.name for plan in plans}) == len(plans), "plans", "a list of different names")
    _check(sum(plan.default for plan in plans) <= 1, "plans", "a list with one default at most")
    return plans


def _config_vars(api: Mapping[str, Any], prefix: str) -> list[str]:
    names = api.get("config_vars")
    _check(isinstance(names, list), "api.config_vars", "a list")
    _check(_CONFIG_VAR.fullmatch(prefix), "api.config_vars_prefix", "upper-case letters, digits and _")
    checked: list[str] = []
    for name in names or ():
        good = isinstance(name, str) and _CONFIG_VAR.fullmatch(name)
        _check(good, f"config var {name!r}", "upper-case letters, digits and _")
        _check(name == prefix or name.startswith(f"{prefix}_"), f"config var {name}", f"prefixed {prefix}_")
        checked.append(name)
    return checked


def _requires(api: Mapping[str, Any]) -> frozenset[str]:
    regions, requires = api.get("regions", ["us"]), api.get("requires", [])
    _check(
        isinstance(regions, list) and _REGIONS.issuperset(regions), "api.regions", f"of {sorted(_REGIONS)}"
    )
    _check(bool({"us", "*"} & set(regions)), "api.regions", "with us or *")
    _check(
        isinstance(requires, list) and _REQUIRES.issuperset(requires),
        "api.requires",
        f"of {sorted(_REQUIRES)}",
    )
    return frozenset(requires)


def _url(where: Mapping[str, Any], key: str) -> str:
    url = _text(where, key)
    parts = urlsplit(url)
    # Credentials travel there: plain HTTP never leaves the machine.
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    _check(safe and parts.hostname, f"api.production.{key}", "an https URL (http on this machine only)")
    return url


def _text(document: Any, key: str) -> str:
    value = document.get(key) if isinstance(document, dict) else None
    _check(isinstance(value, str) and value.strip(), key, "a non-empty string")
    return str(value)


def _check(good: Any, what: str, should: str) -> None:
    if not good:
        raise InvalidInput(f"{what} must be {should}.")
