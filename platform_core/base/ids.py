"""Identifiers and secrets."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid


def new_uuid() -> str:
    """Return a random UUID in its 36-character form."""
    return str(uuid.uuid4())


def new_secret(nbytes: int = 32) -> str:
    """Return ``nbytes`` of randomness as lower-case hex; 32 bytes are 256 bits."""
    return secrets.token_hex(nbytes)


def fingerprint(secret: str) -> str:
    """Return the SHA-256 of a random secret, the only form in which one is stored.

    Plain SHA-256 is enough because our secrets are random and 256 bits long; it is not for passwords.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def same_secret(given: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())


def is_uuid(text: str) -> bool:
    """Tell whether ``text`` is a UUID in its canonical form."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
