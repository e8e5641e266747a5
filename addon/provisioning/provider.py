"""The Partner API's provider: makes, changes and removes resources. Every call may come twice."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from addon.models.accounts import PLANS, Account
from addon.models.resources import Provision, Resource
from addon.provisioning.manifest import SERVICE, config_vars, limits_text
from platform_core.base.errors import InvalidInput, NotFound, Unauthenticated, UserError
from platform_core.base.ids import is_uuid, new_uuid, same_secret
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from addon.models.ingest import Ingestor, Warehouse
    from addon.provisioning.credentials import Credentials
    from addon.query.workers import WorkerPool
    from addon.store.accounts import AccountStore
    from addon.store.audit import AuditLog
    from addon.store.catalog import SqlCatalog
    from addon.store.jobs import JobStore
    from addon.store.resources import ResourceStore

_DRAIN_USER = "logplex"
_KEY, _DRAIN = "api-key", "drain"
_NAME = re.compile(r"[^a-z0-9-]+")
_MAX_TEXT = 2_000
_MAX_WORD = 64
_log = get_logger(__name__)


class Gone(UserError):
    """The resource was deprovisioned; it does not come back."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a resource's life touches."""

    resources: ResourceStore
    accounts: AccountStore
    catalog: SqlCatalog
    jobs: JobStore
    audit: AuditLog
    warehouse: Warehouse
    ingestor: Ingestor
    pool: WorkerPool
    folders: tuple[Path, ...]
    """Folders with one sub-folder per account id, to be emptied of a deprovisioned one."""
    erase: tuple[Callable[[int], None], ...]
    """Each stops what a room does for an account and deletes what it keeps beside the account's tables."""
    forget: Callable[[int], Awaitable[Sequence[str]]] | None = None
    """Has the other nodes of a fleet do the same; returns those that do not answer."""


class Provider:
    """Resources by uuid, as the Partner API v3 wants them."""

    def __init__(self, rooms: Rooms, credentials: Credentials, public_url: str, drain_host: str) -> None:
        """Take our HTTP URL as customers reach it, and ``host:port`` of the TLS listener for drains."""
        self._rooms = rooms
        self._credentials = credentials
        self._public_url = public_url
        self._drain_host = drain_host

    def check_credentials(self, user: str, password: str) -> None:
        """Check the platform's Basic credentials, in constant time.

        Raises:
            Unauthenticated: they are wrong.
        """
        user_right = same_secret(user, SERVICE)
        if not (same_secret(password, self._credentials.provider_password) and user_right):
            raise Unauthenticated(
                "The provider's credentials are wrong.", hint="Use the manifest's id and password."
            )

    async def provision(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Make a resource; the same uuid again gives the same answer.

        Returns:
            The answer, and whether this call made the resource.

        Raises:
            InvalidInput: the request is malformed, or the plan is unknown.
            Gone: the uuid was deprovisioned.
        """
        wanted = parse_provision(body)
        made = self._rooms.resources.provision
        resource, created = await asyncio.to_thread(
            made,
            wanted,
            key_secret=self._credentials.derived(_KEY, wanted.uuid),
            drain_user=_DRAIN_USER,
            drain_secret=self._credentials.derived(_DRAIN, wanted.uuid),
        )
        _check_alive(resource)
        if created:
            await self._audit("provision", resource.uuid, resource.account)
        return self._answer(resource), created

    def api_key(self, resource: Resource) -> str:
        """Return the resource's master key."""
        return f"{resource.account.id}/{self._credentials.derived(_KEY, resource.uuid)}"

    def _answer(self, resource: Resource) -> dict[str, Any]:
        secret = self._credentials.derived(_DRAIN, resource.uuid)
        limits = limits_text(resource.account.plan)
        sender = f"{resource.drain_user}:{secret}@{self._drain_host}"
        return {
            "id": resource.uuid,
            "config": dict(config_vars(self.api_key(resource), self._public_url)),
            "message": f"Print @[database.table] {{json}} and query it. {limits}.",
            "log_drain_url": f"https://{sender}/logplex/{resource.uuid}",
        }

    async def change_plan(self, uuid: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change the plan; to the same plan is no change.

        Raises:
            NotFound, Gone: there is no such resource, or no longer.
            InvalidInput: the plan is unknown.
        """
        resource = await self.find(uuid)
        plan = _known_plan(body)
        if plan == resource.account.plan.name:
            return {"message": f"The plan is {plan} already."}
        await asyncio.to_thread(self._rooms.resources.change_plan, resource.uuid, plan)
        self._rooms.accounts.forget_cached()
        await self._rooms.pool.close_account(resource.account.id)  # workers carry the old plan's limits
        await self._audit(f"plan:{plan}", resource.uuid, resource.account)
        config = dict(config_vars(self.api_key(resource), self._public_url))
        return {"message": f"Now {limits_text(PLANS[plan])}.", "config": config}

    async def find(self, uuid: str) -> Resource:
        """Return a live resource.

        Raises:
            NotFound, Gone: there is no such resource, or no longer.
        """
        resource = await asyncio.to_thread(self._rooms.resources.get, uuid.lower())
        if resource is None:
            raise NotFound("There is no such resource.")
        return _check_alive(resource)

    async def deprovision(self, uuid: str) -> None:
        """Remove a resource: its keys are dead at once, then all its data is deleted.

        The platform hears of success once the keys are dead: what a failing disk or database keeps us from
        deleting now is deleted by :meth:`finish_purges` later.

        Raises:
            NotFound, Gone: there is no such resource, or no longer.
        """
        resource = await self.find(uuid)
        await asyncio.to_thread(self._rooms.resources.deprovision, resource.uuid)
        self._rooms.accounts.forget_cached()
        await self._audit("deprovision", resource.uuid, resource.account)
        await self._try_to_purge(resource)

    async def finish_purges(self) -> None:
        """Delete what is left of deprovisioned resources, after a failure or a crash."""
        for resource in await asyncio.to_thread(self._rooms.resources.unpurged):
            await self._try_to_purge(resource)

    async def _try_to_purge(self, resource: Resource) -> None:
        account_id, rooms = resource.account.id, self._rooms
        try:
            await rooms.pool.close_account(account_id)
            # What was acked before the end must not come back after it.
            away = [*await rooms.ingestor.flush(account_id)]
            await asyncio.to_thread(self._purge, account_id)
            if rooms.forget is not None:
                away += await rooms.forget(account_id)
                # A node may have been in the middle of a flush when the tables went.
                await asyncio.to_thread(rooms.warehouse.drop_account, account_id)
            if away:
                _log.warning("purge_waits_for_nodes", account_id=account_id, nodes=len(away))
                return
            await self._audit("purge", resource.uuid, resource.account)
            await asyncio.to_thread(rooms.resources.purged, resource.uuid)
        except Exception:  # noqa: BLE001  (whatever it was: upkeep tries again)
            _log.exception("purge_failed", resource=resource.uuid, account_id=account_id)

    def _purge(self, account_id: int) -> None:
        self._rooms.catalog.forget_account(account_id)
        self._rooms.jobs.forget_account(account_id)
        for erase in self._rooms.erase:
            erase(account_id)
        self._rooms.warehouse.drop_account(account_id)
        for folder in self._rooms.folders:
            if (folder / str(account_id)).exists():
                shutil.rmtree(folder / str(account_id))

    async def _audit(self, action: str, uuid: str, account: Account) -> None:
        await asyncio.to_thread(self._rooms.audit.record, "platform", action, uuid, account.id)


def _check_alive(resource: Resource) -> Resource:
    if resource.deprovisioned:
        raise Gone("This resource was deprovisioned.", hint="Create a new one.")
    return resource


def _known_plan(body: Mapping[str, Any]) -> str:
    plan = body.get("plan")
    if not isinstance(plan, str) or plan not in PLANS:
        raise InvalidInput(f"There is no plan {str(plan)[:40]!r}.", hint=f"Choose one of {', '.join(PLANS)}.")
    return plan


def parse_provision(body: Mapping[str, Any]) -> Provision:
    """Read a provision request.

    The first version's shape, which the kensa tool still sends, names the app in ``heroku_id`` and has no
    name and no uuid; such a resource gets a uuid of ours, so that a repeated request makes a second one.

    Raises:
        InvalidInput: a field that must be there is missing or malformed.
    """
    uuid = body.get("uuid")
    if uuid is None and "heroku_id" in body:
        uuid = new_uuid()
    if not isinstance(uuid, str) or not is_uuid(uuid):
        raise InvalidInput("The field uuid must be a UUID.")
    options = body.get("options") or {}
    if not isinstance(options, dict):
        raise InvalidInput("The field options must be an object.")
    name = _text(body, "name") or f"resource-{uuid[:8]}"
    return Provision(
        uuid=uuid.lower(),
        name=_NAME.sub("-", name.lower())[:255],
        plan=_known_plan(body),
        region=_text(body, "region", _MAX_WORD),
        callback_url=_text(body, "callback_url"),
        log_drain_token=_text(body, "log_drain_token", _MAX_WORD),
        options=json.dumps(options)[:_MAX_TEXT],
    )


def _text(body: Mapping[str, Any], name: str, most: int = _MAX_TEXT) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > most or "\0" in value):
        raise InvalidInput(f"The field {name} must be a text of at most {most} characters.")
    return value or None
