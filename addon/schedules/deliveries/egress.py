"""Where deliveries may connect to: public addresses on usual ports, and what the operator allows by name.

A customer chooses the receiver, the service connects: so the receiver must not be a machine that only the
service can reach. A host is resolved once, every address that it has is checked, and the connection goes to
a checked address, so that a name which changes its mind in between gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from addon.schedules.deliveries.port import NotDelivered
from platform_core.base.errors import Forbidden, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

_RESOLVE_S = 15.0
_PORTS = {
    "http": frozenset({80, 8080}),
    "https": frozenset({443, 8443}),
    "smtp": frozenset({25, 465, 587, 2525}),
    "postgresql": frozenset({5432, 6432}),
}
_DEFAULT = {"http": 80, "https": 443, "smtp": 587, "postgresql": 5432}
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""NAT64: the last four bytes are an IPv4 address."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A scheme, a host and a port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def origin_of(url: str, schemes: Iterable[str], *, name: str = "url", userinfo: bool = False) -> Origin:
    """Return a URL's origin.

    Raises:
        InvalidInput: it is malformed, or of another scheme; the text names the parameter ``name`` and never
            repeats what the URL holds, which may be a secret.
    """
    allowed = " or ".join(f"{scheme}://HOST[:PORT]" for scheme in schemes)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"parameter {name}: this is no URL; give {allowed}.") from error
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if parts.scheme not in schemes or not host or not plain or port == 0:
        raise InvalidInput(f"parameter {name}: this URL is not allowed; give {allowed}, in ASCII.")
    if not userinfo and ("@" in parts.netloc):
        raise InvalidInput(f"parameter {name}: a user or password in the URL is not allowed.")
    return Origin(parts.scheme, host.lower().rstrip("."), port or _DEFAULT[parts.scheme])


class Egress:
    """Decides about connections; ``allowed`` are origins that the operator trusts beside public ones."""

    def __init__(self, allowed: str = "") -> None:
        """Take the operator's origins, comma-separated: ``https://hooks.internal:8443,smtp://10.0.0.5:25``.

        Raises:
            InvalidInput: one is malformed.
        """
        texts = [text.strip() for text in allowed.split(",") if text.strip()]
        self._allowed = {origin_of(text, _PORTS, name="SLUICE_ADDON_EGRESS_ALLOW") for text in texts}

    async def address(self, origin: Origin) -> str:
        """Return an address of the origin's host to connect to.

        Raises:
            Forbidden: the origin is not public, and the operator has not allowed it.
            NotDelivered: the host's name does not resolve.
        """
        trusted = origin in self._allowed
        if not trusted and origin.port not in _PORTS[origin.scheme]:
            ports = ", ".join(str(port) for port in sorted(_PORTS[origin.scheme]))
            raise Forbidden(
                f"Port {origin.port} is not allowed for {origin.scheme}.",
                hint=f"Use one of {ports}, or ask the operator to add {origin} to SLUICE_ADDON_EGRESS_ALLOW.",
            )
        addresses = await _resolve(origin)
        if not trusted and not all(map(is_public, addresses)):
            raise Forbidden(
                f"{origin.host} is not a public address.",
                hint=f"Ask the operator to add {origin} to SLUICE_ADDON_EGRESS_ALLOW.",
            )
        return addresses[0]


async def _resolve(origin: Origin) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise NotDelivered(f"The host {origin.host[:253]} has no address.") from error
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet, however it is written or wrapped."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is None and found in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)
