"""Who asks: an account, or an add-on's vendor with a token for one of its resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platform_core.models.apps import Account


@dataclass(frozen=True, slots=True)
class Authorization:
    """A token that was issued. The token itself is not kept, only its SHA-256. Times are Unix seconds."""

    id: str
    description: str
    account: Account | None
    addon_id: str | None
    created_at: float
    expires_at: float | None
