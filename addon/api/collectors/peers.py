"""The address that a request came from: the peer's, unless the peer is a proxy that was named as trusted."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.api.raw import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(text: str) -> tuple[Network, ...]:
    """Return the addresses and networks of a comma-separated list.

    Raises:
        InvalidInput: one is neither.
    """
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InvalidInput(
            f"The trusted proxies {text[:200]!r} are not valid: {error}.",
            hint="Give addresses or networks, for example 10.0.0.0/8,127.0.0.1.",
        ) from error


def address_of(scope: Scope, headers: Mapping[bytes, bytes], trusted: Sequence[Network] = ()) -> str:
    """Return the sender's address; empty when the server does not know its peer.

    ``X-Forwarded-For`` is read from its end, as far as trusted proxies wrote it: what a client put at its
    beginning counts for nothing.
    """
    address = str((scope.get("client") or ("",))[0])
    hops = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",") if trusted else []
    while hops and _is_trusted(address, trusted):
        before = hops.pop().strip()
        if _parsed(before) is None:
            break
        address = before
    return address


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in trusted)
