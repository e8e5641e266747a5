"""From the error tree to HTTP: one table of status codes, and Treasure Data's JSON form."""

from __future__ import annotations

import re
from typing import Any

from addon.models.conflicts import TakenBy
from addon.provisioning.quotas import QuotaExceeded
from addon.query.worker import QueryFailed, QueueFull
from platform_core.base.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    OutOfSpace,
    SluiceError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

_STATUS: tuple[tuple[type[SluiceError], int], ...] = (
    (InvalidInput, 422),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (QuotaExceeded, 429),
    (QueueFull, 429),
    (QueryFailed, 422),
    (OutOfSpace, 507),
    (Unavailable, 503),
)
_SECONDS = re.compile(r"\d+")
_QUOTA_RETRY_S = "3600"
_QUEUE_RETRY_S = "10"


def status_of(error: SluiceError) -> int:
    """Return the HTTP status of an error; 500 is a fault of ours."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def error_headers(error: SluiceError) -> dict[str, str]:
    """Return Retry-After for what may work later, and the challenge for missing credentials."""
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": "TD1"}
    if isinstance(error, QuotaExceeded):
        return {"retry-after": _QUOTA_RETRY_S}
    if isinstance(error, QueueFull):
        return {"retry-after": _QUEUE_RETRY_S}
    if isinstance(error, Unavailable):
        seconds = _SECONDS.search(error.hint or "")
        return {"retry-after": seconds[0] if seconds else "1"}
    return {}


def error_details(error: SluiceError) -> dict[str, Any]:
    """Return what Treasure Data's error object says beside the message: what a name or key clashes with."""
    return {"details": {"conflicts_with": str(error.other)}} if isinstance(error, TakenBy) else {}


def td_error(status: int, message: str) -> dict[str, Any]:
    """Return Treasure Data's error object; Ruby clients print ``message``, Python ones ``error``."""
    return {
        "error": message,
        "message": message,
        "text": message,
        "severity": "error",
        "status_code": status,
    }
