"""logfmt: ``key=value key="quoted value" bare``, the form of router and metrics lines."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(
    r'[ \t]*([^\s="\x00-\x20]+)(?:(=)(?:("(?:[^"\\]|\\.)*")|([^\s"]*)))?(?=[ \t]|$)', re.DOTALL
)
_NEEDS_QUOTES = re.compile(r'[\s"=\\\x00-\x1f\x7f]')
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class LogfmtError(ValueError):
    """The text is not logfmt."""


def parse(text: str) -> dict[str, str | None]:
    """Return the pairs of a line in their order; a bare key has None, of a repeated key the last one counts.

    A line of plain words is a list of bare keys: it is for the caller to ask for at least one value.

    Raises:
        LogfmtError: a quote is not closed, or stands where none may.
    """
    pairs: dict[str, str | None] = {}
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position, end)
        if found is None:
            raise LogfmtError(f"not logfmt at column {position + 1}")
        key, equals, quoted, bare = found.groups()
        pairs[key] = None if equals is None else _unquote(quoted) if quoted is not None else bare
        position = found.end()
    return pairs


def _unquote(quoted: str) -> str:
    inner = quoted[1:-1]
    return _ESCAPE.sub(_unescape, inner) if "\\" in inner else inner


def _unescape(found: re.Match[str]) -> str:
    code: str = found[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _SIMPLE_ESCAPES.get(code, code)


def format_value(value: object) -> str:
    """Return one value, quoted when it would not be read back otherwise."""
    text = "true" if value is True else "false" if value is False else str(value)
    return json.dumps(text, ensure_ascii=False) if _NEEDS_QUOTES.search(text) else text


def format_pairs(pairs: Mapping[str, object]) -> str:
    """Return the pairs as one line; None makes a bare key.

    Raises:
        LogfmtError: a key is empty or holds a space, ``=``, a quote or a control character.
    """
    parts = []
    for key, value in pairs.items():
        if not key or _NEEDS_QUOTES.search(key):
            raise LogfmtError(f"{key!r} cannot be a logfmt key")
        parts.append(key if value is None else f"{key}={format_value(value)}")
    return " ".join(parts)
