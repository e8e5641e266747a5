"""Cross-origin rules of the collectors: any page may send, with credentials, and read the answer.

A collector's key is in the request itself and only lets in; no cookie decides anything, so that echoing every
origin gives a page nothing that it could not do with a server of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_ORIGIN = 300
_PREFLIGHT_S = "7200"
"""The longest that browsers keep a preflight's answer."""
_ALWAYS = {"vary": "origin", "x-content-type-options": "nosniff", "cache-control": "no-store"}


def answer_headers(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the headers of every answer; errors have them too, or the page could not read those."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    if not origin or len(origin) > _MAX_ORIGIN or not origin.isprintable():
        return dict(_ALWAYS)
    return {
        **_ALWAYS,
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "retry-after",
        "cross-origin-resource-policy": "cross-origin",
    }


def preflight_headers(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the headers of the answer to a preflight."""
    return {
        **answer_headers(headers),
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "accept, authorization, content-type, user-agent, x-td-write-key",
        "access-control-max-age": _PREFLIGHT_S,
    }
