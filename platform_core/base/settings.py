"""Settings: frozen dataclasses read once from the environment, at the composition root only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    S = TypeVar("S", bound=DataclassInstance)
else:
    S = TypeVar("S")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


def load_settings(cls: type[S], prefix: str, environ: Mapping[str, str] | None = None, **overrides: Any) -> S:
    """Build the settings dataclass ``cls`` from ``PREFIX_FIELD`` variables; ``overrides`` win over them.

    Field types may be str, int, float, bool and Path, each with or without ``| None``.

    Raises:
        InvalidInput: a variable does not parse, or a field without a default is not given.
    """
    environ = os.environ if environ is None else environ
    hints = get_type_hints(cls)
    values: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    for field in fields(cls):
        if field.name in values:
            continue
        variable = f"{prefix}_{field.name}".upper()
        if variable in environ:
            values[field.name] = _parse(variable, environ[variable], hints[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            message = f"The setting {variable} is missing."
            raise InvalidInput(message, hint=f"Set {variable} in the environment.")
    return cls(**values)


def _parse(variable: str, text: str, hint: Any) -> Any:
    wanted = str(hint).removesuffix(" | None") if not isinstance(hint, type) else hint.__name__
    wanted = wanted.rpartition(".")[2]
    if wanted == "bool":
        lowered = text.strip().lower()
        if lowered in _TRUE or lowered in _FALSE:
            return lowered in _TRUE
    elif wanted == "Path":
        return Path(text)
    elif wanted in {"int", "float"}:
        try:
            return int(text) if wanted == "int" else float(text)
        except ValueError:
            pass
    else:
        return text
    message = f"The setting {variable} is not a valid {wanted}."
    raise InvalidInput(message, hint=f"Give {variable} a {wanted} value.")
