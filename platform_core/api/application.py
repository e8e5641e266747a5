"""Puts the endpoints together. Everything that is not listed here as public needs a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI

from platform_core.api import (
    accounts,
    addons,
    apps,
    attachments,
    config_vars,
    drains,
    dynos,
    formation,
    logs,
    releases,
    services,
    sso,
    vendors,
)
from platform_core.api.auth import authorization
from platform_core.api.errors import install_error_handlers
from platform_core.api.middleware import ProtocolRules

if TYPE_CHECKING:
    from platform_core.api.context import Platform

GUARDED = (accounts, addons, apps, attachments, config_vars, drains, dynos, formation, logs, releases,
           services, vendors)  # fmt: skip
PUBLIC = (accounts, logs, releases, sso, vendors)
"""Modules with endpoints that carry their own proof: a log session's or ticket's secret, an OAuth grant."""


def create_api(platform: Platform) -> FastAPI:
    """Return the Platform API as an ASGI application."""
    app = FastAPI(
        title="Platform API", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        strict_content_type=False,
    )  # fmt: skip
    app.state.platform = platform
    for public_module in PUBLIC:
        app.include_router(public_module.public)
    for module in GUARDED:
        app.include_router(module.router, dependencies=[Depends(authorization)])
    install_error_handlers(app)
    app.add_middleware(ProtocolRules)
    return app
