"""The outer dispatcher: hot ingest routes go to raw ASGI, everything else to FastAPI behind the guard."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from addon.api import (
    analyses,
    console,
    drain,
    health,
    imports,
    partner,
    pins,
    reports,
    sluice,
    table_schema,
    uploads,
)
from addon.api.collectors.paths import target_of
from addon.api.collectors.routes import CollectorRoutes
from addon.api.drain import DrainRoute
from addon.api.errors import error_details, error_headers, status_of, td_error
from addon.api.guard import Guard
from addon.api.imports import ImportRoutes
from addon.api.internal import PREFIX, InternalRoutes
from addon.api.raw import ClientGone, Scope, answer_error
from addon.api.td import accounts, bulk, bulk_parts, databases, jobs, later, schedules, tables
from addon.api.td.bulk_parts import PartUpload
from addon.api.uploads import UploadRoutes
from platform_core.base.errors import SluiceError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.api.collectors.peers import Network
    from addon.api.services import Services

FAULT = "request_failed"

_log = get_logger(__name__)


def build_api(services: Services, *, api: bool = True) -> FastAPI:
    """Return the framework's half of the application; health and metrics only, without ``api``."""
    app = FastAPI(title="Sluice", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.services = services
    td = (accounts, databases, tables, jobs, schedules, bulk, later)
    modules = (*td, partner, console, sluice, reports, analyses, table_schema, pins, health)
    for module in modules if api else (health,):
        app.include_router(module.router)
    app.add_exception_handler(SluiceError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    app.add_exception_handler(Exception, _on_fault)
    return app


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SluiceError)  # noqa: S101  (registered for it)
    status = status_of(error)
    if status == 500:  # noqa: PLR2004
        _log.error(FAULT, path=request.url.path, exc_info=error)
        return JSONResponse(td_error(500, "Something went wrong inside the service."), 500)
    content = {**td_error(status, str(error)), **error_details(error)}
    return JSONResponse(content, status, error_headers(error))


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for it)
    text = f"{error.detail}: {request.method} {request.url.path[:200]}"
    return JSONResponse(td_error(error.status_code, text), error.status_code, error.headers)


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (registered for it)
    first = error.errors()[0] if error.errors() else {"loc": (), "msg": "invalid"}
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse(td_error(422, f"The request is not valid: {where}: {first['msg']}"), 422)


async def _on_gone(_request: Request, _error: Exception) -> Response:
    """Answer a client that went away in the middle of its body: nobody reads this, and nothing is logged."""
    return Response(status_code=400)


async def _on_fault(_request: Request, _error: Exception) -> JSONResponse:
    """Answer in the client's form when something of ours broke; the server logs the error itself."""
    return JSONResponse(td_error(500, "Something went wrong inside the service."), 500)


class Application:
    """The whole ASGI application of the add-on."""

    def __init__(
        self,
        services: Services,
        *,
        ingest: bool = True,
        api: bool = True,
        trusted: Sequence[Network] = (),
        internal: InternalRoutes | None = None,
    ) -> None:
        """Serve the routes of the chosen roles; ``trusted`` are the proxies whose X-Forwarded-For counts."""
        self._imports = ImportRoutes(services) if ingest else None
        self._drain = DrainRoute(services) if ingest else None
        self._parts = PartUpload(services) if ingest else None
        self._uploads = UploadRoutes(services) if ingest else None
        self._collectors = CollectorRoutes(services, trusted) if ingest else None
        self._internal = internal
        self._rest = Guard(build_api(services, api=api))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        if scope["path"].startswith("//"):
            scope = _one_slash(scope)
        route = self._route(scope)
        if route is self._rest:  # the framework answers its faults itself
            await route(scope, receive, send)
            return
        try:
            await route(scope, receive, send)
        except ClientGone:
            return
        except Exception:  # noqa: BLE001 - a sender that is told 500 in its own form keeps its batch
            _log.exception(FAULT, path=scope["path"])
            with suppress(RuntimeError):  # the answer has begun already
                await answer_error(send, SluiceError("a fault of ours"))

    def _route(self, scope: Scope) -> Any:
        path, method = scope["path"], scope["method"]
        if self._internal is not None and path.startswith(PREFIX):
            return self._internal
        if method == "POST" and self._drain is not None and path.startswith(drain.PREFIX):
            return self._drain
        if method == "PUT" and self._imports is not None and path.startswith(imports.PREFIX):
            return self._imports
        if method == "PUT" and self._parts is not None and path.startswith(bulk_parts.PREFIX):
            return self._parts
        return self._file_or_events(scope) or self._rest

    def _file_or_events(self, scope: Scope) -> Any:
        if self._uploads is not None and uploads.takes(scope):
            return self._uploads
        return self._collectors if target_of(scope) is not None else None


def _one_slash(scope: Scope) -> Scope:
    """Undo the second slash that td-client puts before every path of an endpoint with a port."""
    raw = scope.get("raw_path") or scope["path"].encode()
    return {**scope, "path": "/" + scope["path"].lstrip("/"), "raw_path": b"/" + raw.lstrip(b"/")}


async def _lifespan(receive: Any, send: Any) -> None:
    """Start-up and shutdown are the composition root's; say yes to both."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
