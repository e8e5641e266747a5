"""JSON objects with a key twice: the last value counts, the earlier ones are kept beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Number(str):
    """A number's own text, so that no digit is lost on the way through."""

    __slots__ = ()


class _Pairs(list[tuple[str, object]]):
    """An object's members in their order, repeats included."""


def _dump(value: object) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, _Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{_dump(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    return json.dumps(value)


def split_duplicates(line: str) -> tuple[str, str | None]:
    """Return the object's text with each key once, and the earlier values as ``{"key": [values]}``."""
    members = json.loads(line, object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number)
    last = dict(members)
    earlier: dict[str, list[str]] = {}
    remaining: dict[str, int] = {}
    for key, _ in members:
        remaining[key] = remaining.get(key, 0) + 1
    for key, value in members:
        remaining[key] -= 1
        if remaining[key]:
            earlier.setdefault(key, []).append(_dump(value))
    kept = _dump(_Pairs(last.items()))
    return kept, _listed(earlier) if earlier else None


def _listed(earlier: dict[str, list[str]]) -> str:
    def member(key: str, texts: Sequence[str]) -> str:
        return f"{json.dumps(key)}:[{','.join(texts)}]"

    return "{" + ",".join(member(key, texts) for key, texts in earlier.items()) + "}"
