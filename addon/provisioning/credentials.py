"""The vendor's own secrets, and those that follow from them.

API keys and drain passwords of resources are derived from one secret and the resource's uuid. So a repeated
provision request gets the same answer, while the database holds nothing but their hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from platform_core.base.errors import InvalidInput
from platform_core.base.ids import new_secret

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Credentials:
    """All hex texts."""

    provider_password: str
    sso_salt: str
    root_secret: str
    local_key_secret: str

    def derived(self, purpose: str, uuid: str) -> str:
        """Return the 256-bit secret of a resource for one purpose."""
        return hmac.new(self.root_secret.encode(), f"{purpose}:{uuid}".encode(), hashlib.sha256).hexdigest()

    def forward_key(self, account_id: int) -> str:
        """Return the shared key with which an account's forward senders prove themselves.

        Derived, as the server must know it in plain text and the database shall not.
        """
        return self.derived("forward", f"account:{account_id}")


def load_credentials(path: Path) -> Credentials:
    """Read the credentials file.

    Raises:
        InvalidInput: it is missing or damaged.
    """
    try:
        return Credentials(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(
            f"The credentials file {path} cannot be read.", hint="Run `python -m addon init` first."
        ) from error


def ensure_credentials(path: Path) -> Credentials:
    """Return the credentials, made on the first call; the file is for its owner only.

    Raises:
        InvalidInput: the file is damaged.
    """
    if not path.exists():
        made = Credentials(new_secret(), new_secret(20), new_secret(), new_secret())
        part = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(made), file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # of two that race, one file stays
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return load_credentials(path)
