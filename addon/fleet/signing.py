"""How nodes prove to each other that they belong to one fleet: an HMAC over path, time and body.

The key follows from the fleet's credentials, so there is nothing to configure and nothing to send. A request
that is repeated within the minute does no harm: all of them are idempotent.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from platform_core.base.errors import Unauthenticated
from platform_core.base.ids import same_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

TIME, SIGNATURE = "sluice-time", "sluice-signature"
_TOLERANCE_S = 60.0


def sign(secret: str, path: str, body: bytes, now: float) -> dict[str, str]:
    """Return the headers that a node's request to ``path`` carries."""
    stamp = f"{now:.3f}"
    return {TIME: stamp, SIGNATURE: _signature(secret, path, body, stamp)}


def check(secret: str, path: str, body: bytes, headers: Mapping[bytes, bytes], now: float) -> None:
    """Check a request's signature, in constant time, and its age.

    Raises:
        Unauthenticated: it is not from a node of this fleet, or older than a minute.
    """
    stamp = headers.get(TIME.encode(), b"").decode("latin-1")
    given = headers.get(SIGNATURE.encode(), b"").decode("latin-1")
    if not same_secret(given, _signature(secret, path, body, stamp)):
        raise Unauthenticated("The request is not signed by a node of this fleet.")
    if not abs(now - float(stamp)) <= _TOLERANCE_S:
        raise Unauthenticated("The request is too old.", hint="Set the clocks of the machines by NTP.")


def _signature(secret: str, path: str, body: bytes, stamp: str) -> str:
    text = b"\n".join([path.encode(), stamp.encode("latin-1"), body])
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
