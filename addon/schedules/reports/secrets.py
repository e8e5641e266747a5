"""Secrets of deliveries at rest: sealed with a key of the vendor's, so that the database alone opens none."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping


class SecretBox:
    """Seals and opens JSON objects: AES-128-CBC and HMAC-SHA256 in Fernet's form."""

    def __init__(self, secret: str) -> None:
        """Take a 256-bit secret as hex; the same one opens what it sealed."""
        self._fernet = Fernet(base64.urlsafe_b64encode(bytes.fromhex(secret)))

    def seal(self, values: Mapping[str, Any]) -> str:
        """Return the sealed form, text."""
        return self._fernet.encrypt(json.dumps(values).encode()).decode()

    def open(self, sealed: str) -> dict[str, Any]:
        """Return what was sealed.

        Raises:
            InvalidInput: it was sealed with another secret, or is damaged.
        """
        try:
            opened: dict[str, Any] = json.loads(self._fernet.decrypt(sealed.encode()))
        except (InvalidToken, ValueError) as error:
            raise InvalidInput(
                "The secrets of a report's deliveries cannot be opened: the service's credentials changed.",
                hint="PUT the report again with its secrets.",
            ) from error
        return opened
