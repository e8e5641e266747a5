"""The programs' own logs: one JSON object a line on stderr, secrets cut out at the sink.

Event names are constants of the calling module, data goes into fields. These logs never enter a tenant's
pipeline: that would be a loop.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_URL_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_API_KEY = re.compile(r"\b(\d+)/[0-9a-f]{40,}\b")
_SECRET_FIELDS = frozenset({"password", "secret", "token", "api_key", "authorization", "config", "salt"})
REDACTED = "[redacted]"


def redact(text: str) -> str:
    """Return ``text`` without URL credentials and API keys."""
    return _API_KEY.sub(rf"\1/{REDACTED}", _URL_USERINFO.sub(f"{REDACTED}@", text))


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name in _SECRET_FIELDS:
            event[name] = REDACTED
        elif isinstance(value, str):
            event[name] = redact(value)
    return event


def configure_logs(level: str = "info") -> None:
    """Send structlog's and the standard library's records to stderr as redacted JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # httpx logs each request at INFO with its whole URL: noise, and a place for secrets.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of module ``name``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
