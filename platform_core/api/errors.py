"""Errors in Heroku's form: ``{"id", "message"}`` and the status that clients expect with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from platform_core.addons.errors import ConfirmationRequired
from platform_core.base import errors
from platform_core.base.logs import get_logger
from platform_core.models.missing import Missing

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

_log = get_logger(__name__)
_UNEXPECTED = "api_unexpected_error"

# Most specific first.
_BY_CLASS: tuple[tuple[type[errors.SluiceError], int, str], ...] = (
    (ConfirmationRequired, 423, "confirmation_required"),
    (errors.InvalidInput, 422, "invalid_params"),
    (errors.Unauthenticated, 401, "unauthorized"),
    (errors.Forbidden, 403, "forbidden"),
    (errors.NotFound, 404, "not_found"),
    (errors.Conflict, 422, "invalid_params"),
    (errors.TooLarge, 413, "too_large"),
    (errors.OutOfSpace, 507, "out_of_space"),
    (errors.Unavailable, 503, "service_unavailable"),
    (errors.UserError, 400, "bad_request"),
)


def error_response(status: int, error_id: str, message: str, **more: Any) -> JSONResponse:
    """Return an error as the CLI reads it."""
    return JSONResponse({"id": error_id, "message": message, **more}, status_code=status)


def describe(error: errors.SluiceError) -> tuple[int, dict[str, Any]]:
    """Return the status and body that tell a client of an error."""
    status, error_id = next(
        ((status, error_id) for cls, status, error_id in _BY_CLASS if isinstance(error, cls)),
        (500, "internal_server_error"),
    )
    body: dict[str, Any] = {"id": error_id, "message": str(error)}
    if isinstance(error, Missing):
        body["resource"] = error.resource
    return status, body


async def _on_known(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.SluiceError)  # noqa: S101  registered for this class only
    status, body = describe(error)
    headers = {"WWW-Authenticate": 'Bearer realm="Platform API"'} if status == 401 else None  # noqa: PLR2004  Unauthorized
    return JSONResponse(body, status_code=status, headers=headers)


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for this class only
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return error_response(400, "bad_request", "The request body cannot be parsed as JSON.")
    where = ".".join(str(part) for part in first["loc"][1:]) or "request body"
    return error_response(422, "invalid_params", f"{where}: {first['msg']}.")


async def _on_half_character(_request: Request, _error: Exception) -> JSONResponse:
    return error_response(422, "invalid_params", "The request holds text that is not valid Unicode.")


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this class only
    if error.status_code in {404, 405}:
        return error_response(
            404,
            "not_found",
            f"There is no endpoint {request.method} {request.url.path} in this version of the platform.",
        )
    error_id = "too_large" if error.status_code == 413 else "bad_request"  # noqa: PLR2004  Content Too Large
    return error_response(error.status_code, error_id, str(error.detail))


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    _log.error(_UNEXPECTED, method=request.method, path=request.url.path, exc_info=error)
    return error_response(
        500, "internal_server_error", "The platform failed on this request; its log has the reason."
    )


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of ``app`` answer in Heroku's form."""
    app.add_exception_handler(errors.SluiceError, _on_known)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(UnicodeEncodeError, _on_half_character)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
