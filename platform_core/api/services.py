"""What is on offer: add-on services and their plans."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from platform_core.api import serializers
from platform_core.api.auth import AccountDep
from platform_core.api.context import PlatformDep
from platform_core.api.ranges import paged
from platform_core.models.missing import Missing

router = APIRouter()


@router.get("/addon-services")
async def list_services(request: Request, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List the services."""
    del caller
    return paged(request, [serializers.service(each) for each in platform.catalog.list()], "name")


@router.get("/addon-services/{service}")
async def service_info(service: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show a service."""
    del caller
    return serializers.service(platform.catalog.get(service))


@router.get("/addon-services/{service}/plans")
async def list_plans(
    request: Request, service: str, caller: AccountDep, platform: PlatformDep
) -> JSONResponse:
    """List a service's plans."""
    del caller
    found = platform.catalog.get(service)
    return paged(request, [serializers.plan(each, found) for each in found.plans], "name")


@router.get("/addon-services/{service}/plans/{plan}")
async def plan_info(service: str, plan: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show a plan by its slug or its full name."""
    del caller
    found = platform.catalog.get(service)
    it = found.plan(plan.removeprefix(f"{found.id}:"))
    if it is None:
        raise Missing("plan", f"Couldn't find that plan of {found.id}.")
    return serializers.plan(it, found)
