"""The forward protocol's handshake: HELO, PING, PONG. Both sides prove the shared key, neither sends it.

The shared key is the account's forward key; PING's user name, or else its host name, is the account's number.
A sender that is configured with a user name sends a digest of its password too, which must be the same key.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any

import msgpack

from platform_core.base.ids import same_secret

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER_NAME = "sluice"
_PING_PARTS = 6
_NONCE_BYTES = 16
_MAX_DIGITS = 18


class HandshakeError(ValueError):
    """The sender did not prove a key; the text is for it and for the log."""


class Handshake:
    """One connection's handshake: send ``helo``, check the answer, send what ``check`` returns."""

    def __init__(self) -> None:
        """Draw the nonce and the salt."""
        self._nonce = secrets.token_bytes(_NONCE_BYTES)
        self._salt = secrets.token_bytes(_NONCE_BYTES)

    def helo(self) -> bytes:
        """Return the greeting."""
        packed: bytes = msgpack.packb(["HELO", {"nonce": self._nonce, "auth": self._salt, "keepalive": True}])
        return packed

    def check(self, ping: bytes, key_of: Callable[[int], str | None]) -> tuple[int, bytes]:
        """Return the account's number and the PONG that accepts. ``key_of`` gives an account's forward key.

        Raises:
            HandshakeError: anything is wrong; answer with ``refusal``.
        """
        host, salt, digest, user, password = _ping(ping)
        account = _number(user or host)
        key = None if account is None else key_of(account)
        # An unknown account costs the same work as a known one.
        expected = _digest(salt, host, self._nonce, key or secrets.token_hex())
        proved = same_secret(digest.hex(), expected.encode().hex())
        if user and password:
            mine = hashlib.sha512(self._salt + user + (key or "").encode()).hexdigest()
            proved &= same_secret(password.hex(), mine.encode().hex())
        if account is None or key is None or not proved:
            raise HandshakeError(
                "the account or the shared key is wrong: use the account's number as user name (or host name)"
                " and its forward key as shared key (and password)"
            )
        answer = _digest(salt, SERVER_NAME.encode(), self._nonce, key)
        return account, _pong(True, "", answer)

    def refusal(self, reason: str) -> bytes:
        """Return the PONG that refuses."""
        return _pong(False, reason, "")


def _ping(data: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    try:
        message = msgpack.unpackb(data, raw=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise HandshakeError("no PING was sent") from error
    if not isinstance(message, list) or len(message) != _PING_PARTS or message[0] != b"PING":
        raise HandshakeError("no PING was sent; configure the shared key at the sender")
    parts = [part or b"" for part in message[1:]]  # some senders write nil for the user name that they lack
    if not all(isinstance(part, bytes) for part in parts):
        raise HandshakeError("the PING is malformed")
    host, salt, digest, user, password = parts
    return host, salt, digest, user, password


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= _MAX_DIGITS else None


def _digest(salt: bytes, host: bytes, nonce: bytes, key: str) -> str:
    return hashlib.sha512(salt + host + nonce + key.encode()).hexdigest()


def _pong(good: bool, reason: str, digest: str) -> bytes:
    packed: Any = msgpack.packb(["PONG", good, reason, SERVER_NAME, digest])
    return bytes(packed)
