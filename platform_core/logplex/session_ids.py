"""Ids of log sessions: unguessable text that carries the session itself, signed by the platform."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass

from platform_core.base.ids import new_secret, same_secret
from platform_core.models.logs import LogFilter


@dataclass(frozen=True, slots=True)
class SealedSession:
    """What an id says; ``opened_at`` in Unix seconds."""

    app_id: str
    wanted: LogFilter
    opened_at: float


class SessionIds:
    """Makes and reads the ids; only the holder of the key can make one."""

    def __init__(self, key: str) -> None:
        """Sign with ``key``."""
        self._key = key.encode()

    def seal(self, app_id: str, wanted: LogFilter, now: float) -> str:
        """Return a new id; two of the same kind differ."""
        fields = {"app": app_id, "at": now, "nonce": new_secret(8), **asdict(wanted)}
        payload = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")
        return f"{payload}.{self._mac(payload)}"

    def unseal(self, session_id: str) -> SealedSession | None:
        """Return what the id says, None when it is not one of ours."""
        payload, _, mac = session_id.partition(".")
        if not same_secret(mac, self._mac(payload)):
            return None
        try:
            fields = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            app_id, at, _nonce = fields.pop("app"), fields.pop("at"), fields.pop("nonce")
            return SealedSession(app_id, LogFilter(**fields), at)
        except (ValueError, TypeError, KeyError, binascii.Error):
            return None  # signed by another version of the platform

    def _mac(self, payload: str) -> str:
        return hmac.new(self._key, payload.encode(), hashlib.sha256).hexdigest()
