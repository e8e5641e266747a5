"""The Partner API v3 routes: ``/heroku/resources``."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from addon.api.auth import Rooms, marked
from addon.api.drain import basic_credentials
from addon.api.errors import error_headers, status_of
from addon.api.td.params import json_object
from addon.provisioning.provider import Gone
from platform_core.base.errors import SluiceError, Unauthenticated


@marked
async def platform(request: Request, rooms: Rooms) -> None:
    """Let only the platform in, by the manifest's id and password."""
    user, password = basic_credentials(request.headers.get("authorization", "").encode())
    rooms.provider.check_credentials(user, password)


router = APIRouter(prefix="/heroku", dependencies=[Depends(platform)])


def _refusal(error: SluiceError) -> JSONResponse:
    """Return an error in the Partner API's form, whose message the platform shows to the customer."""
    if isinstance(error, Unauthenticated):
        raise error
    status = 410 if isinstance(error, Gone) else status_of(error)
    return JSONResponse({"message": str(error)}, status, error_headers(error))


@router.post("/resources")
async def provision(request: Request, rooms: Rooms) -> Response:
    """Provision a resource at once: 201, or 200 when it was there."""
    try:
        answer, created = await rooms.provider.provision(json_object(await request.body()))
    except SluiceError as error:
        return _refusal(error)
    return JSONResponse(answer, 201 if created else 200)


@router.put("/resources/{uuid}")
async def change_plan(uuid: str, request: Request, rooms: Rooms) -> Response:
    """Change a resource's plan."""
    try:
        return JSONResponse(await rooms.provider.change_plan(uuid, json_object(await request.body())))
    except SluiceError as error:
        return _refusal(error)


@router.delete("/resources/{uuid}")
async def deprovision(uuid: str, rooms: Rooms) -> Response:
    """Deprovision a resource and delete its data."""
    try:
        await rooms.provider.deprovision(uuid)
    except SluiceError as error:
        return _refusal(error)
    return Response(status_code=204)
