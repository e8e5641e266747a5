"""Apps, who has access to them, and the host names they answer to."""

import re
import secrets
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from platform_core.api import serializers
from platform_core.api.auth import AccountDep
from platform_core.api.context import Platform, PlatformDep
from platform_core.api.lookups import app_named
from platform_core.api.ranges import paged
from platform_core.base.errors import InvalidInput
from platform_core.models.apps import App, Slug
from platform_core.models.missing import Missing
from platform_core.store import apps as rows
from platform_core.store.releases import current_release

router = APIRouter()
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{1,28})[a-z0-9]")
_ADJECTIVES = ("autumn", "bold", "calm", "crisp", "early", "fair", "gentle", "keen", "lively", "mild",
               "quiet", "rapid", "sharp", "steady", "sunny", "swift", "tidal", "warm", "wild")  # fmt: skip
_NOUNS = ("basin", "brook", "canal", "cascade", "channel", "creek", "delta", "flume", "gully",
          "harbor", "lagoon", "lock", "meadow", "mill", "pond", "reach", "river", "weir")  # fmt: skip
_BUILDPACKS = {"heroku/python": "heroku/python", "python": "heroku/python"}


class NewApp(BaseModel):
    """What ``apps:create`` sends."""

    name: str | None = None
    region: str | None = None
    stack: str | None = None


class AppChange(BaseModel):
    """What ``apps:rename`` and ``maintenance:*`` send."""

    name: str | None = None
    maintenance: bool | None = None


class BuildpackUpdate(BaseModel):
    """One buildpack of an update."""

    buildpack: str


class BuildpackUpdates(BaseModel):
    """What ``buildpacks:set`` sends."""

    updates: list[BuildpackUpdate]


def check_app_name(name: str) -> str:
    """Return ``name`` when it may be an app's name, which is also a host name and a git path.

    Raises:
        InvalidInput: it may not.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "Name must start with a letter, end with a letter or digit and can only contain lowercase "
            "letters, digits, and dashes; 3 to 30 characters."
        )
    return name


def _random_name() -> str:
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(90_000) + 10_000}"


@router.get("/apps")
@router.get("/users/~/apps")
async def list_apps(request: Request, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List the caller's apps."""
    found = await platform.store.run(rows.list_apps, caller.id)
    return paged(request, [serializers.app(each, platform.urls) for each in found], "name")


@router.post("/apps", status_code=201)
async def create_app(caller: AccountDep, platform: PlatformDep, body: NewApp | None = None) -> dict[str, Any]:
    """Make an app."""
    wanted = body or NewApp()
    name = check_app_name(wanted.name) if wanted.name else _random_name()
    if wanted.region not in {None, "us"}:
        raise InvalidInput(f"Region {wanted.region!r} does not exist here.", hint="The only region is us.")
    if wanted.stack not in {None, "heroku-24"}:
        raise InvalidInput(f"Stack {wanted.stack!r} does not exist here.", hint="The only one is heroku-24.")

    def write(connection: sa.Connection) -> App:
        app = rows.create_app(connection, name, caller, platform.clock.now())
        platform.releases.begin_app(connection, app.id, caller.email)
        return rows.get_app(connection, app.id)

    app = await platform.store.run(write)
    platform.releases.announce(app.id, f"Initial release by user {caller.email}")
    return serializers.app(app, platform.urls)


async def _shown(platform: Platform, app: App) -> dict[str, Any]:
    release = await platform.store.run(current_release, app.id)
    slug: Slug | None = None if release is None else release.slug
    return serializers.app(app, platform.urls, slug)


@router.get("/apps/{app}")
async def app_info(app: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show an app."""
    return await _shown(platform, await app_named(platform, caller, app))


@router.patch("/apps/{app}")
async def change_app(app: str, body: AppChange, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Rename an app, or switch its maintenance page."""
    found = await app_named(platform, caller, app)
    now = platform.clock.now()
    if body.name is not None and body.name != found.name:
        found = await platform.store.run(rows.rename_app, found.id, check_app_name(body.name), now)
    if body.maintenance is not None:
        found = await platform.store.run(rows.set_maintenance, found.id, body.maintenance, now)
        mode = "enabled" if body.maintenance else "disabled"
        platform.releases.announce(found.id, f"Maintenance mode {mode} by user {caller.email}")
    platform.background.start("reconcile", platform.dynos.reconcile(found.id))
    return await _shown(platform, found)


@router.delete("/apps/{app}")
async def destroy_app(app: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Destroy an app: its add-ons, dynos, logs and code."""
    found = await app_named(platform, caller, app)
    answer = await _shown(platform, found)
    await platform.addons.leave_app(found)
    await platform.store.run(rows.delete_app, found.id)
    await platform.dynos.destroy(found.id)
    platform.logs.forget(found.id)
    await platform.forget_code(found.id)
    return answer


@router.get("/apps/{app}/collaborators")
async def collaborators(app: str, caller: AccountDep, platform: PlatformDep) -> list[dict[str, Any]]:
    """List who has access: the owner."""
    return [serializers.collaborator(await app_named(platform, caller, app))]


def _hostname(platform: Platform, app: App) -> str:
    return urlsplit(platform.urls.web_url(app.name)).hostname or app.name


@router.get("/apps/{app}/domains")
async def domains(app: str, caller: AccountDep, platform: PlatformDep) -> list[dict[str, Any]]:
    """List the host names that the router sends to the app."""
    found = await app_named(platform, caller, app)
    return [serializers.domain(found, _hostname(platform, found))]


@router.get("/apps/{app}/domains/{hostname}")
async def domain(app: str, hostname: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show one host name."""
    found = await app_named(platform, caller, app)
    if hostname != _hostname(platform, found):
        raise Missing("domain", "Couldn't find that domain name.")
    return serializers.domain(found, hostname)


@router.get("/apps/{app}/sni-endpoints")
async def sni_endpoints(app: str, caller: AccountDep, platform: PlatformDep) -> list[dict[str, Any]]:
    """List TLS endpoints: the router serves plain HTTP."""
    await app_named(platform, caller, app)
    return []


def _buildpacks(app: App) -> list[dict[str, Any]]:
    return [serializers.buildpack_installation(app.buildpack)] if app.buildpack else []


@router.get("/apps/{app}/buildpack-installations")
async def buildpacks(app: str, caller: AccountDep, platform: PlatformDep) -> list[dict[str, Any]]:
    """List the app's pinned buildpack; none means that it is detected."""
    return _buildpacks(await app_named(platform, caller, app))


@router.put("/apps/{app}/buildpack-installations")
async def set_buildpacks(
    app: str, body: BuildpackUpdates, caller: AccountDep, platform: PlatformDep
) -> list[dict[str, Any]]:
    """Pin the buildpack, or (an empty list) let it be detected."""
    found = await app_named(platform, caller, app)
    names = [update.buildpack.removeprefix("urn:buildpack:") for update in body.updates]
    if len(names) > 1 or any(name not in _BUILDPACKS for name in names):
        raise InvalidInput(
            "That buildpack does not exist here.", hint=f"There are: {', '.join(set(_BUILDPACKS.values()))}."
        )
    pinned = _BUILDPACKS[names[0]] if names else None
    return _buildpacks(await platform.store.run(rows.set_buildpack, found.id, pinned, platform.clock.now()))
