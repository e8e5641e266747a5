"""What the router takes out of and puts into the headers it passes on."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from platform_core.router.faults import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Header = tuple[bytes, bytes]
VIA = b"1.1 sluice-router"
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"})
"""RFC 9110 §7.6.1; Transfer-Encoding stays, for h11 reads the framing from it."""
_OURS = frozenset(
    {
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-request-start",
        b"x-request-id",
        b"expect",
    }
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9-]{20,200}")
"""What Heroku accepts from a client; anything else is replaced."""


def value_of(headers: Iterable[Header], name: bytes) -> bytes | None:
    """Return the first value of a header given by its lower-case name."""
    return next((value for key, value in headers if key == name), None)


def request_id(headers: Iterable[Header]) -> str:
    """Return the client's request id when it is a valid one, else a new one."""
    given = value_of(headers, b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return str(uuid.uuid4())


def wants_upgrade(headers: Sequence[Header]) -> bool:
    """Tell whether the request asks to switch protocols (WebSocket)."""
    return b"upgrade" in _connection_options(headers) and value_of(headers, b"upgrade") is not None


def check(headers: Sequence[Header], target: bytes, method: bytes, *, max_line: int, max_head: int) -> None:
    """Refuse what a router must not pass on.

    Raises:
        Refused: too long a line, two framings at once, or CONNECT.
    """
    if len(method) + len(target) > max_line:
        raise Refused(414, f"The request line is longer than {max_line} bytes.")
    if any(len(name) + len(value) > max_line for name, value in headers):
        raise Refused(431, f"A header is longer than {max_line} bytes.")
    if sum(len(name) + len(value) + 4 for name, value in headers) > max_head:
        raise Refused(431, f"The headers are longer than {max_head} bytes together.")
    names = [name for name, _value in headers]
    if b"transfer-encoding" in names and b"content-length" in names:
        raise Refused(400, "A request may not have both Content-Length and Transfer-Encoding.")
    if method == b"CONNECT":
        raise Refused(405, "CONNECT is not supported.")
    if names.count(b"host") != 1:
        raise Refused(400, "A request must have exactly one Host header.")


def forwarded_for(headers: Iterable[Header], client: str) -> str:
    """Return the X-Forwarded-For value: whatever came, with the address we saw ourselves as the last."""
    given = b", ".join(value for name, value in headers if name == b"x-forwarded-for")
    return f"{given.decode('latin-1')}, {client}" if given else client


def for_dyno(
    raw: Iterable[Header],
    *,
    forwarded: str,
    port: int,
    scheme: str,
    started_ms: int,
    identifier: str,
    upgrade: bool,
) -> list[Header]:
    """Return the request's headers for the dyno; each request has a connection of its own."""
    raw = list(raw)
    dropped = _HOP_BY_HOP | _OURS | _connection_options((name.lower(), value) for name, value in raw)
    kept = [(name, value) for name, value in raw if name.lower() not in dropped]
    if upgrade:
        kept += [(name, value) for name, value in raw if name.lower() == b"upgrade"]
    kept += [
        (b"Connection", b"Upgrade" if upgrade else b"close"),
        (b"X-Request-Id", identifier.encode()),
        (b"X-Forwarded-For", forwarded.encode("latin-1", "replace")),
        (b"X-Forwarded-Proto", scheme.encode()),
        (b"X-Forwarded-Port", str(port).encode()),
        (b"X-Request-Start", str(started_ms).encode()),
        (b"Via", VIA),
    ]
    return kept


def for_client(raw: Iterable[Header]) -> list[Header]:
    """Return a response's headers for the client."""
    raw = list(raw)
    dropped = _HOP_BY_HOP | _connection_options((name.lower(), value) for name, value in raw)
    return [*((name, value) for name, value in raw if name.lower() not in dropped), (b"Via", VIA)]


def _connection_options(headers: Iterable[Header]) -> frozenset[bytes]:
    """Return the headers that Connection declares hop-by-hop; framing can not be among them."""
    listed = b",".join(value for name, value in headers if name == b"connection")
    options = {option.strip().lower() for option in listed.split(b",")}
    return frozenset(
        options - {b"", b"close", b"keep-alive", b"host", b"content-length", b"transfer-encoding"}
    )
