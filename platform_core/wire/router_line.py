"""The HTTP router's log line, byte for byte as log tools parse it.

``at=info method=GET path="/p" host=h request_id=… fwd="ip" dyno=web.1 connect=1ms service=18ms status=200
bytes=975 protocol=https``; an unknown value leaves its key empty (``dyno= connect=``).
"""

from __future__ import annotations

from dataclasses import dataclass

from platform_core.wire.codes import H_CODES

_WARNINGS = frozenset({"H27"})
"""Codes that are the client's doing: ``at=warning``."""
_ESCAPES = str.maketrans({'"': "%22", "\\": "%5C", " ": "%20", "\n": "%0A", "\r": "%0D"})


@dataclass(frozen=True, slots=True)
class RouterLine:
    """One request as the router logs it. Durations in milliseconds; None where there is no value."""

    method: str
    path: str
    """Path and query, as received."""
    host: str
    request_id: str
    fwd: str
    status: int
    protocol: str = "http"
    dyno: str | None = None
    connect_ms: int | None = None
    service_ms: int | None = None
    size: int | None = None
    """Bytes of the response, headers included, as sent to the client."""
    tls_version: str | None = None
    code: str | None = None
    """An H code; its text and level follow from it."""
    sock: str | None = None
    """``client`` or ``backend``: which side hung up (H18, H27)."""

    def encode(self) -> bytes:
        """Return the line without a newline."""
        return self.text().encode("utf-8", "replace")

    def text(self) -> str:
        """Return the line without a newline."""
        line = (
            f'{self._head()} method={_quoted(self.method)} path="{_quoted(self.path)}" '
            f'host={_quoted(self.host)} request_id={_quoted(self.request_id)} fwd="{_quoted(self.fwd)}" '
            f"dyno={self.dyno or ''} connect={_millis(self.connect_ms)} service={_millis(self.service_ms)} "
            f"status={self.status} bytes={'' if self.size is None else self.size} protocol={self.protocol}"
        )
        if self.protocol == "https" and self.tls_version is not None:
            line += f" tls=true tls_version={self.tls_version}"
        return line

    def _head(self) -> str:
        if self.code is None:
            return "at=info"
        level = "warning" if self.code in _WARNINGS else "error"
        sock = f"sock={self.sock} " if self.sock else ""
        return f'{sock}at={level} code={self.code} desc="{H_CODES[self.code].text}"'


def _millis(value: int | None) -> str:
    return "" if value is None else f"{value}ms"


def _quoted(text: str) -> str:
    """Make a client's text safe between quotes: what could end the quotes or the line is percent-encoded."""
    escaped = text.translate(_ESCAPES)
    return escaped if escaped.isprintable() else "".join(c if c.isprintable() else "%3F" for c in escaped)
