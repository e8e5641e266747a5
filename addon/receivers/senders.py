"""Who sends: an account found by a token that the message carries in a field, never by its text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.models.accounts import AccountState, Right
from platform_core.base.ids import fingerprint

if TYPE_CHECKING:
    from addon.models.accounts import Account
    from addon.store.accounts import AccountStore
    from addon.store.resources import ResourceStore

TOKEN = rb"(?:\d{1,18}/[0-9a-f]{32,128}|d\.[0-9A-Za-z-]{16,64})"
"""An API key, or a platform's drain token."""
_SHOWN = 12
_DRAIN = "d."
_WRITERS = frozenset({Right.MASTER, Right.WRITE})


@dataclass(frozen=True, slots=True)
class Sender:
    """The account, and what the columns ``app`` and ``drain`` say of its rows."""

    account: Account
    app: str
    drain: str
    """The resource for drain tokens; for API keys, the beginning of the key's hash."""


class Senders:
    """Looks tokens up; changes take at most a second."""

    def __init__(self, accounts: AccountStore, resources: ResourceStore) -> None:
        """Ask the stores."""
        self._accounts = accounts
        self._resources = resources

    def find(self, token: str) -> Sender | None:
        """Return whose token it is; None for an unknown one, or one that may not write."""
        if token.startswith(_DRAIN):
            resource = self._resources.by_drain_token(token)
            if resource is None or resource.deprovisioned:
                return None
            return Sender(resource.account, resource.account.name, resource.uuid)
        identity = self._accounts.identify(token)
        if identity is None or identity.right not in _WRITERS:
            return None
        if identity.account.state is not AccountState.PROVISIONED:
            return None
        name = identity.account.name
        return Sender(identity.account, name, f"key.{fingerprint(token)[:_SHOWN]}")


def is_token(text: bytes) -> bool:
    """Tell whether a field has the form of a token."""
    return re.fullmatch(TOKEN, text) is not None
