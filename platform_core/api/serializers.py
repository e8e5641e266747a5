"""The one place that knows the Platform API's JSON field names."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from platform_core.base.clock import iso8601
from platform_core.base.logs import redact
from platform_core.models.apps import DYNO_SIZES, ReleaseStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from platform_core.api.context import Urls
    from platform_core.models.access import Authorization
    from platform_core.models.addons import AddOn, Attachment, Plan, Service
    from platform_core.models.apps import Account, App, Process, Slug
    from platform_core.models.logs import Drain
    from platform_core.models.runtime import Dyno
    from platform_core.store.releases import ReleaseSummary

Json = dict[str, Any]
_FORMATION = uuid.UUID("6d0f8a53-5d0e-4c55-9f0b-7f6a1f2f6c11")
"""Process types have no id in the store; clients get one that never changes."""


def time_or_none(seconds: float | None) -> str | None:
    """Return a time as the API writes it."""
    return None if seconds is None else iso8601(seconds)


def account(it: Account) -> Json:
    """``GET /account``."""
    return {
        "id": it.id,
        "email": it.email,
        "name": it.name,
        "allow_tracking": False,
        "beta": False,
        "default_organization": None,
        "default_team": None,
        "delinquent_at": None,
        "federated": False,
        "identity_provider": None,
        "sms_number": None,
        "suspended_at": None,
        "two_factor_authentication": False,
        "verified": True,
    }


def authorization(it: Authorization, now: float, token: str | None = None) -> Json:
    """An OAuth authorization; ``token`` is shown only when it is made or was itself presented."""
    left = None if it.expires_at is None else max(0, int(it.expires_at - now))
    return {
        "id": it.id,
        "description": it.description,
        "scope": ["global"],
        "created_at": iso8601(it.created_at),
        "updated_at": iso8601(it.created_at),
        "access_token": {"id": it.id, "expires_in": left, "token": token},
        "client": None,
        "grant": None,
        "refresh_token": None,
        "session": None,
        "user": None if it.account is None else _user(it.account),
    }


def _user(it: Account) -> Json:
    return {"id": it.id, "email": it.email, "full_name": it.name}


def app(it: App, urls: Urls, slug: Slug | None = None) -> Json:
    """An app; ``slug`` is what it runs now."""
    stack = {"id": it.stack, "name": it.stack}
    return {
        "id": it.id,
        "name": it.name,
        "acm": False,
        "archived_at": None,
        "build_stack": stack,
        "buildpack_provided_description": slug.buildpack if slug else None,
        "create_status": "complete",
        "created_at": iso8601(it.created_at),
        "generation": {"id": "cedar", "name": "cedar"},
        "git_url": urls.git_url(it.name),
        "internal_routing": None,
        "maintenance": it.maintenance,
        "organization": None,
        "owner": {"id": it.owner.id, "email": it.owner.email},
        "region": {"id": it.region, "name": it.region},
        "released_at": time_or_none(it.released_at),
        "repo_size": None,
        "slug_size": slug.size if slug else None,
        "space": None,
        "stack": stack,
        "team": None,
        "updated_at": iso8601(it.updated_at),
        "web_url": urls.web_url(it.name),
    }


def _app_ref(app_id: str, name: str) -> Json:
    return {"id": app_id, "name": name}


def collaborator(it: App) -> Json:
    """The owner as the app's only collaborator."""
    return {
        "id": it.owner.id,
        "app": _app_ref(it.id, it.name),
        "created_at": iso8601(it.created_at),
        "updated_at": iso8601(it.created_at),
        "permissions": [{"name": name} for name in ("view", "deploy", "operate", "manage")],
        "role": "owner",
        "user": {"id": it.owner.id, "email": it.owner.email, "federated": False},
    }


def domain(it: App, hostname: str) -> Json:
    """The app's own host name."""
    return {
        "id": it.id,
        "acm_status": None,
        "acm_status_reason": None,
        "app": _app_ref(it.id, it.name),
        "cname": None,
        "created_at": iso8601(it.created_at),
        "hostname": hostname,
        "kind": "heroku",
        "sni_endpoint": None,
        "status": "none",
        "updated_at": iso8601(it.created_at),
    }


def process(it: Process, app_: App) -> Json:
    """A process type of the formation."""
    return {
        "id": str(uuid.uuid5(_FORMATION, f"{it.app_id}/{it.type}")),
        "app": _app_ref(app_.id, app_.name),
        "command": it.command,
        "created_at": iso8601(app_.created_at),
        "dyno_size": {"name": it.size},
        "quantity": it.quantity,
        "size": it.size,
        "type": it.type,
        "updated_at": iso8601(app_.updated_at),
    }


def dyno(it: Dyno, app_: App) -> Json:
    """A running process."""
    return {
        "id": it.id,
        "name": it.name,
        "app": _app_ref(app_.id, app_.name),
        "attach_url": None,
        "command": it.command,
        "created_at": iso8601(it.updated_at),
        "release": {"id": it.release_id, "version": it.release_version},
        "size": it.size,
        "state": it.state.value,
        "type": it.type,
        "updated_at": iso8601(it.updated_at),
    }


def dyno_sizes() -> list[Json]:
    """What ``GET /dyno-sizes`` lists."""
    return [
        {
            "id": size.name,
            "name": size.name,
            "compute": int(size.cpu_cores),
            "cost": {"cents": size.price_cents, "unit": "month"},
            "dedicated": size.name.startswith("Performance"),
            "dyno_units": 1,
            "memory": size.memory / (1 << 30),
            "private_space_only": False,
            "generation": {"id": "cedar", "name": "cedar"},
        }
        for size in DYNO_SIZES.values()
    ]


def release(it: ReleaseSummary, app_: App, output_url: str | None) -> Json:
    """A release; ``output_url`` is where its release phase's output is read."""
    return {
        "id": it.id,
        "addon_plan_names": list(it.addon_plan_names),
        "app": _app_ref(app_.id, app_.name),
        "artifacts": [],
        "created_at": iso8601(it.created_at),
        "current": it.current,
        "description": it.description,
        "eligible_for_rollback": it.slug_id is not None and it.status is ReleaseStatus.SUCCEEDED,
        "output_stream_url": output_url,
        "slug": None if it.slug_id is None else {"id": it.slug_id},
        "status": it.status.value,
        "updated_at": iso8601(it.created_at),
        "user": {"id": app_.owner.id, "email": it.user_email},
        "version": it.version,
    }


def slug(it: Slug, stack: str) -> Json:
    """A slug, as ``GET /apps/{app}/slugs/{id}`` shows it; the bytes stay on the platform."""
    return {
        "id": it.id,
        "blob": None,
        "buildpack_provided_description": it.buildpack,
        "checksum": f"SHA256:{it.sha256}",
        "commit": it.commit,
        "commit_description": None,
        "created_at": iso8601(it.created_at),
        "process_types": dict(it.process_types),
        "size": it.size,
        "stack": {"id": stack, "name": stack},
        "updated_at": iso8601(it.created_at),
    }


def log_session(session_id: str, url: str, now: float) -> Json:
    """A log session and where it streams."""
    return {
        "id": session_id,
        "logplex_url": url,
        "created_at": iso8601(now),
        "updated_at": iso8601(now),
    }


def drain(it: Drain, addon_name: str | None) -> Json:
    """A log drain; one that belongs to an add-on names it and keeps the vendor's password to itself."""
    if it.addon_id is None:
        return {"id": it.id, "addon": None, "token": it.token, "url": it.url}
    owner = {"id": it.addon_id, "name": addon_name}
    return {"id": it.id, "addon": owner, "token": it.token, "url": redact(it.url)}


def service(it: Service) -> Json:
    """An add-on service."""
    return {
        "id": it.id,
        "cli_plugin_name": None,
        "created_at": "1970-01-01T00:00:00Z",
        "human_name": it.human_name,
        "name": it.id,
        "state": "ga",
        "supported_generations": [{"id": "cedar", "name": "cedar"}],
        "supports_multiple_installations": "many_per_app" in it.requires,
        "supports_sharing": "attachable" in it.requires,
        "updated_at": "1970-01-01T00:00:00Z",
    }


def plan(it: Plan, of: Service) -> Json:
    """A plan, with its price."""
    return {
        "id": f"{of.id}:{it.name}",
        "addon_service": {"id": of.id, "name": of.id},
        "compliance": None,
        "created_at": "1970-01-01T00:00:00Z",
        "default": it == of.default_plan,
        "description": it.description,
        "human_name": it.human_name,
        "installable_inside_private_network": False,
        "installable_outside_private_network": True,
        "name": f"{of.id}:{it.name}",
        "price": _price(it.price_cents),
        "space_default": False,
        "state": "ga",
        "updated_at": "1970-01-01T00:00:00Z",
        "visible": True,
    }


def _price(cents: int) -> Json:
    return {"cents": cents, "contract": False, "metered": False, "unit": "month"}


def addon(
    it: AddOn, of: Service | None, web_url: str | None, config_vars: list[str], *, state: str | None = None
) -> Json:
    """An add-on. ``of`` is None when its service is no longer on offer."""
    found = of.plan(it.plan) if of else None
    plan_name = f"{it.service}:{it.plan}"
    cents = found.price_cents if found else 0
    return {
        "id": it.id,
        "name": it.name,
        "actions": [],
        "addon_service": {
            "id": it.service,
            "name": it.service,
            "human_name": of.human_name if of else it.service,
        },
        "app": _app_ref(it.app_id, it.app_name),
        "billed_price": _price(cents),
        "billing_entity": {"id": it.app_id, "name": it.app_name, "type": "app"},
        "config_vars": config_vars,
        "created_at": iso8601(it.created_at),
        "plan": plan(found, of) if of and found else {"id": plan_name, "name": plan_name, "price": _price(0)},
        "provider_id": it.provider_id,
        "provision_message": it.message,
        "state": state or it.state.value,
        "updated_at": iso8601(it.updated_at),
        "web_url": web_url,
    }


def attachment(it: Attachment, web_url: str | None) -> Json:
    """An attachment, with as much of its add-on as clients look at."""
    plan_name = f"{it.addon.service}:{it.addon.plan}"
    return {
        "id": it.id,
        "addon": {
            "id": it.addon.id,
            "name": it.addon.name,
            "app": _app_ref(it.addon.app_id, it.addon.app_name),
            "plan": {"id": plan_name, "name": plan_name},
            "addon_service": {"id": it.addon.service, "name": it.addon.service},
        },
        "app": _app_ref(it.app_id, it.app_name),
        "config_vars": sorted(it.config_vars),
        "created_at": iso8601(it.created_at),
        "log_input_url": None,
        "name": it.name,
        "namespace": it.namespace,
        "updated_at": iso8601(it.updated_at),
        "web_url": web_url,
    }


def vendor_config(config: Mapping[str, str]) -> list[Json]:
    """An add-on's config as its vendor reads it."""
    return [{"name": name, "value": value} for name, value in sorted(config.items())]


def buildpack_installation(url: str) -> Json:
    """An app's pinned buildpack."""
    return {"ordinal": 0, "buildpack": {"url": url, "name": url}}
