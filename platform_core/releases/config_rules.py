"""What may be a config var."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
MAX_CONFIG_BYTES = 64 * 1024
"""All names and values of an app together."""


def check_change(changes: Mapping[str, str | None], attached: Container[str]) -> None:
    """Refuse names that a process could not read, and those that belong to an add-on.

    Raises:
        InvalidInput: which name, and why.
    """
    for name, value in changes.items():
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"Config var name {name!r} is not valid.",
                hint="Use letters, digits and _; begin with a letter or _.",
            )
        if name in attached:
            raise InvalidInput(
                f"Cannot overwrite attachment values {name}.",
                hint="Detach the add-on first, or choose another name.",
            )
        if value is not None and "\0" in value:
            raise InvalidInput(f"Config var {name} holds a NUL byte.", hint="Encode it, e.g. as base64.")


def check_size(config: Mapping[str, str]) -> None:
    """Refuse more config vars than an environment should carry.

    Raises:
        InvalidInput: over the limit.
    """
    size = sum(len(name.encode()) + len(value.encode()) for name, value in config.items())
    if size > MAX_CONFIG_BYTES:
        raise InvalidInput(
            f"The app's config vars would be {size} bytes; the limit is {MAX_CONFIG_BYTES}.",
            hint="Keep large values in a file or an add-on.",
        )
