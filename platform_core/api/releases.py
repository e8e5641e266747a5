"""Releases, rollback, slugs, and the output of release phases."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from platform_core.api import serializers
from platform_core.api.auth import AccountDep
from platform_core.api.context import Platform, PlatformDep
from platform_core.api.lookups import app_named
from platform_core.api.ranges import paged
from platform_core.base.errors import InvalidInput
from platform_core.base.ids import same_secret
from platform_core.models.apps import App, ReleaseStatus
from platform_core.models.missing import Missing
from platform_core.store import releases as rows
from platform_core.store.slugs import get_slug
from platform_core.store.tickets import platform_secret

router = APIRouter()
public = APIRouter()


class NewRelease(BaseModel):
    """What ``rollback`` sends."""

    release: str | None = None
    slug: str | None = None
    description: str | None = None


async def _output_key(platform: Platform) -> bytes:
    return (await platform.store.run(platform_secret, "release-output")).encode()


def _output_token(key: bytes, app_id: str, release_id: str) -> str:
    return hmac.new(key, f"{app_id}/{release_id}".encode(), hashlib.sha256).hexdigest()


async def _all_shown(platform: Platform, app: App, listed: list[rows.ReleaseSummary]) -> list[dict[str, Any]]:
    key = await _output_key(platform)

    def url(each: rows.ReleaseSummary) -> str | None:
        if not each.has_output:
            return None
        token = _output_token(key, app.id, each.id)
        return f"{platform.urls.api}/release-outputs/{app.id}/{each.id}/{token}"

    return [serializers.release(each, app, url(each)) for each in listed]


async def _shown(platform: Platform, app: App, each: rows.ReleaseSummary) -> dict[str, Any]:
    return (await _all_shown(platform, app, [each]))[0]


@router.get("/apps/{app}/releases")
async def list_releases(
    request: Request, app: str, caller: AccountDep, platform: PlatformDep
) -> JSONResponse:
    """List releases."""
    found = await app_named(platform, caller, app)
    listed = await platform.store.run(rows.list_releases, found.id)
    return paged(request, await _all_shown(platform, found, listed), "version")


@router.get("/apps/{app}/releases/{release}")
async def release_info(app: str, release: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show a release by version or id."""
    found = await app_named(platform, caller, app)
    return await _shown(platform, found, await platform.store.run(rows.get_summary, found.id, release))


@router.get("/apps/{app}/releases/{release}/config-vars")
async def release_config(app: str, release: str, caller: AccountDep, platform: PlatformDep) -> dict[str, str]:
    """Show the config vars that a release carries."""
    found = await app_named(platform, caller, app)
    return dict((await platform.store.run(rows.get_release, found.id, release)).config_vars)


@router.post("/apps/{app}/releases", status_code=201)
async def roll_back(app: str, body: NewRelease, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Roll back to an earlier release."""
    if body.release is None:
        raise InvalidInput("This platform makes releases of earlier releases only.", hint="Name a release.")
    found = await app_named(platform, caller, app)
    made = await platform.releases.rollback(found.id, body.release, caller.email)
    return await _shown(platform, found, await platform.store.run(rows.get_summary, found.id, made.id))


@router.get("/apps/{app}/slugs/{slug}")
async def slug_info(app: str, slug: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show a slug."""
    found = await app_named(platform, caller, app)
    it = await platform.store.run(get_slug, slug)
    if it is None or it.app_id != found.id:
        raise Missing("slug", "Couldn't find that slug.")
    return serializers.slug(it, found.stack)


@public.get("/release-outputs/{app_id}/{release_id}/{token}")
async def release_output(
    app_id: str, release_id: str, token: str, platform: PlatformDep
) -> StreamingResponse:
    """Stream what a release phase prints; the token in the path is the authorization."""
    if not same_secret(token, _output_token(await _output_key(platform), app_id, release_id)):
        raise Missing("release_output", "Couldn't find that output.")
    release = await platform.store.run(rows.get_summary, app_id, release_id)
    return StreamingResponse(_output(platform, app_id, release), media_type="text/plain")


async def _output(platform: Platform, app_id: str, release: rows.ReleaseSummary) -> AsyncIterator[str]:
    if release.status is ReleaseStatus.PENDING:
        async for piece in platform.outputs.stream(app_id):
            yield piece
        return
    output = await platform.store.run(rows.release_output, release.id)
    yield output or ""
