"""One reader for the ways in which TD clients send parameters: multipart, form, JSON, query string."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from platform_core.base.errors import InvalidInput

_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


class Params:
    """The parameters of a request, as texts; those of the body win over the query string's."""

    def __init__(self, values: dict[str, str]) -> None:
        """Take texts by name."""
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter, or ``default`` when it is not given."""
        return self._values.get(name, default)

    def optional(self, name: str) -> str | None:
        """Return a parameter; None when it is not given or empty."""
        return self._values.get(name) or None

    def integer(self, name: str, default: int) -> int:
        """Return a whole number.

        Raises:
            InvalidInput: it is none.
        """
        text = self._values.get(name, "").strip()
        if not text:
            return default
        try:
            return int(text)
        except ValueError as error:
            raise InvalidInput(f"The parameter {name} must be a whole number, not {text[:40]!r}.") from error

    def flag(self, name: str) -> bool | None:
        """Return a switch; None when it is not given.

        Raises:
            InvalidInput: it is neither true nor false.
        """
        if name not in self._values:
            return None
        text = self._values[name].strip().lower()
        if text not in _TRUE | _FALSE:
            raise InvalidInput(f"The parameter {name} must be true or false, not {text[:40]!r}.")
        return text in _TRUE


async def read_params(request: Request) -> Params:
    """Collect a request's parameters.

    Raises:
        InvalidInput: the body does not parse as what its Content-Type says.
    """
    values = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        values.update(await _form(request))
    elif kind == "application/json":
        values.update(_json(await request.body()))
    return Params(values)


async def _form(request: Request) -> dict[str, str]:
    try:
        async with request.form(max_files=0, max_part_size=4 << 20) as form:
            return {name: value for name, value in form.items() if isinstance(value, str)}
    except HTTPException as error:
        raise InvalidInput(f"The form does not parse: {error.detail}") from error


def _json(body: bytes) -> dict[str, str]:
    if not body.strip():
        return {}
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The JSON body does not parse.") from error
    if not isinstance(content, dict):
        raise InvalidInput("The JSON body must be an object.")
    return {name: _text(value) for name, value in content.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


Parameters = Annotated[Params, Depends(read_params)]
