"""Names of add-ons and attachments."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Container

_ATTACHMENT = re.compile(r"[A-Z][A-Z0-9_]{0,254}")
_ADDON = re.compile(r"[a-z][a-z0-9-]{1,254}")
_SHAPES = ("angular", "contoured", "cubed", "curved", "deep", "flat", "globular", "graceful", "horizontal",
           "octagonal", "parallel", "perpendicular", "rectangular", "regular", "round", "shaped", "sinuous",
           "solid", "spherical", "triangular", "trapezoidal", "vertical")  # fmt: skip
_COLOURS = ("AMBER", "AQUA", "BLACK", "BLUE", "BRONZE", "BROWN", "CHARCOAL", "COBALT", "COPPER", "CRIMSON",
            "CYAN", "GOLD", "GRAY", "GREEN", "IVORY", "JADE", "MAROON", "MAUVE", "NAVY", "OLIVE", "ONYX",
            "ORANGE", "PINK", "PUCE", "PURPLE", "RED", "ROSE", "SILVER", "TEAL", "VIOLET", "WHITE",
            "YELLOW")  # fmt: skip


def addon_name(service_id: str) -> str:
    """Return a fresh global name such as ``sluice-curved-12345``."""
    return f"{service_id}-{secrets.choice(_SHAPES)}-{secrets.randbelow(90_000) + 10_000}"


def check_addon_name(name: str) -> str:
    """Return ``name`` when it may be an add-on's global name.

    Raises:
        InvalidInput: it may not.
    """
    if not _ADDON.fullmatch(name):
        raise InvalidInput(
            f"Add-on name {name!r} is not valid.", hint="Use lower-case letters, digits and dashes."
        )
    return name


def check_attachment_name(name: str) -> str:
    """Return an attachment name in upper case, as Heroku folds it.

    Raises:
        InvalidInput: it cannot be the start of a config var's name.
    """
    folded = name.upper().replace("-", "_")
    if not _ATTACHMENT.fullmatch(folded):
        raise InvalidInput(
            f"Attachment name {name!r} is not valid.", hint="Use letters, digits and _; begin with a letter."
        )
    return folded


def free_attachment_name(prefix: str, taken: Container[str]) -> str:
    """Return the vendor's prefix, or the prefix with a colour when the app has such an attachment already."""
    if prefix not in taken:
        return prefix
    colours = [f"{prefix}_{colour}" for colour in _COLOURS if f"{prefix}_{colour}" not in taken]
    if colours:
        return secrets.choice(colours)
    return f"{prefix}_{secrets.token_hex(3).upper()}"
