"""Router, dyno and metrics lines as Heroku writes them. Text in, plain values out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from addon.ingest.log_tables import ROUTER_FIELDS
from platform_core.wire import logfmt

if TYPE_CHECKING:
    from collections.abc import Iterator

_RENAMED = {"connect": "connect_ms", "service": "service_ms"}
_LONGS = frozenset(name for name, kind in ROUTER_FIELDS if kind == "long")
_ROUTER_NAMES = frozenset(name for name, _ in ROUTER_FIELDS)
_INT64_DIGITS = 18

_STATE = re.compile(r"^State changed from (\S+) to (\S+)")
_CODE = re.compile(r"^Error ([A-Z]\d{1,3})\b")
_EXIT = re.compile(r"^Process exited with status (-?\d{1,9})\b")
_STARTING = re.compile(r"^Starting process with command\b")
_STOPPING = re.compile(r"^Stopping (?:all processes|process) with (\S+)")
_METRIC_KEY = re.compile(r"^(sample|measure|count)#(.+)$", re.DOTALL)
_QUANTITY = re.compile(r"^([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?)(\S*)$")


def json_text(value: object) -> str:
    """Return a value as JSON text."""
    return msgspec.json.encode(value).decode()


def parse_logfmt(text: str) -> dict[str, str | None] | None:
    """Return a line's pairs, None when it is no logfmt or has no value in it."""
    try:
        pairs = logfmt.parse(text)
    except logfmt.LogfmtError:
        return None
    return pairs if any(value is not None for value in pairs.values()) else None


def router_fields(text: str) -> dict[str, Any]:
    """Return the columns of a router line; a line that is none has only its message."""
    pairs = parse_logfmt(text)
    if pairs is None or "at" not in pairs:
        return {"message": text}
    fields: dict[str, Any] = {}
    rest: dict[str, str | None] = {}
    for key, value in pairs.items():
        name = _RENAMED.get(key, key)
        known = _router_value(name, value) if name in _ROUTER_NAMES else None
        if known is not None:
            fields[name] = known
        elif value:
            rest[key] = value
    if rest:
        fields["data"] = json_text(rest)
    return fields


def _router_value(name: str, value: str | None) -> str | int | None:
    """Return a field in its column's type, None when it is empty or does not fit."""
    if not value or name not in _LONGS:
        return value or None
    digits = value.removesuffix("ms")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _INT64_DIGITS else None


def dyno_fields(text: str) -> dict[str, Any]:
    """Return the columns of a line of the dyno manager; the message is always kept."""
    fields: dict[str, Any] = {"message": text}
    if found := _STATE.match(text):
        fields |= {"event": "state", "state_from": found[1], "state_to": found[2]}
    elif found := _CODE.match(text):
        fields |= {"event": "error", "code": found[1]}
    elif found := _EXIT.match(text):
        fields |= {"event": "exit", "exit_status": int(found[1])}
    elif _STARTING.match(text):
        fields["event"] = "starting"
    elif _STOPPING.match(text):
        fields["event"] = "stopping"
    return fields


def metrics(text: str) -> Iterator[dict[str, Any]]:
    """Yield a row's columns for each ``sample#``, ``measure#`` and ``count#`` of a line."""
    pairs = parse_logfmt(text) or {}
    found = [(match, value or "") for key, value in pairs.items() if (match := _METRIC_KEY.match(key))]
    others = {key: value for key, value in pairs.items() if not _METRIC_KEY.match(key)}
    data = json_text(others) if others else None
    for key, value in found:
        quantity = _QUANTITY.match(value)
        number, unit = (float(quantity[1]), quantity[2] or None) if quantity else (None, value or None)
        yield {"kind": key[1], "metric": key[2], "value": number, "unit": unit, "data": data}
