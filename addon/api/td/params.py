"""One reader for the ways in which TD clients send parameters: multipart, form, JSON, query string."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from platform_core.base.errors import InvalidInput, TooLarge

_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})
_ANY_NUMBER = range(-(2**31), 2**31)


class Params:
    """The parameters of a request, as texts; those of the body win over the query string's."""

    def __init__(self, values: dict[str, str]) -> None:
        """Take texts by name."""
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter, or ``default`` when it is not given."""
        return self._values.get(name, default)

    def has(self, name: str) -> bool:
        """Tell whether a parameter is given, if only as an empty text."""
        return name in self._values

    def optional(self, name: str) -> str | None:
        """Return a parameter; None when it is not given or empty."""
        return self._values.get(name) or None

    def integer(self, name: str, default: int, allowed: range = _ANY_NUMBER) -> int:
        """Return a whole number.

        Raises:
            InvalidInput: it is none, or not one of ``allowed``.
        """
        text = self._values.get(name, "").strip()
        if not text:
            return default
        try:
            number = int(text)
        except ValueError as error:
            raise InvalidInput(f"The parameter {name} must be a whole number, not {text[:40]!r}.") from error
        if number not in allowed:
            raise InvalidInput(f"The parameter {name} must be {allowed[0]} to {allowed[-1]}.")
        return number

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
        TooLarge: a form has too many fields, or one over 4 MiB.
    """
    values = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        values.update(await _form(request))
    elif kind == "application/json" and (body := await request.body()).strip():
        content = json_object(body)
        values.update({name: _text(value) for name, value in content.items() if value is not None})
    if not all(map(is_storable, values.values())):
        raise InvalidInput("A parameter holds a character that no text may hold.", hint="Send valid UTF-8.")
    return Params(values)


async def _form(request: Request) -> dict[str, str]:
    try:
        async with request.form(max_files=0, max_part_size=4 << 20) as form:
            return {name: value for name, value in form.items() if isinstance(value, str)}
    except HTTPException as error:
        if "maximum" in error.detail.lower():  # the one mark that the parser's limits have
            raise TooLarge(f"The form is over a limit: {error.detail}") from error
        raise InvalidInput(f"The form does not parse: {error.detail}") from error


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        InvalidInput: it is none, or holds texts that are no Unicode.
    """
    try:
        content = json.loads(body)
        json.dumps(
            content, ensure_ascii=False
        ).encode()  # a lone surrogate passes the parser, but no database
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The JSON body does not parse.") from error
    if not isinstance(content, dict):
        raise InvalidInput("The JSON body must be an object.")
    return content


def is_storable(text: str) -> bool:
    """Tell whether a text can be kept: PostgreSQL takes no NUL, and nothing takes half a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


Parameters = Annotated[Params, Depends(read_params)]
