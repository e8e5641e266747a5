"""Parameters of an analysis: a frozen dataclass whose fields carry unit, range and meaning.

`parse` turns JSON into the dataclass and names, on error, the parameter, what was given and what is allowed.
A field called `from_` is the parameter `from`, which Python keeps for itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobs.contracts.errors import ParameterError
from jobs.contracts.tables import MAX_TIME

P = TypeVar("P")
Check = Callable[[str, Any], Any]
_KEY = "jobs.parameter"
_MOST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """What `describe` prints about a parameter and what `parse` checks."""

    check: Check
    allowed: str
    unit: str | None
    doc: str
    aliases: tuple[str, ...] = ()


def parameter(
    default: Any,
    check: tuple[str, Check],
    doc: str,
    *,
    unit: str | None = None,
    aliases: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its contract. `check` is one of the makers below: (allowed, function).

    `aliases` are other names under which the definitions, or other tools, know it.
    """
    allowed, function = check
    spec = ParameterSpec(function, allowed, unit, doc, aliases)
    return dataclasses.field(default=default, metadata={_KEY: spec})


def refuse(name: str, given: Any, allowed: str) -> ParameterError:
    """The one shape of a refused value."""
    return ParameterError(f"parameter {name}: {given!r} is not allowed; give {allowed}")


def integer(low: int, high: int | None = None) -> tuple[str, Check]:
    """An integer of low..high, and of no more than the 64 bits that engines compute with."""
    allowed = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise refuse(name, value, allowed)
        if value < low or (high is not None and value > high):
            raise refuse(name, value, allowed)
        if value > _MOST:
            raise refuse(name, value, f"an integer from {low} to {_MOST}")
        return value

    return allowed, check


def number(low: float | None = None) -> tuple[str, Check]:
    """A finite number, of at least `low`."""
    allowed = "a number" if low is None else f"a number of at least {low}"

    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise refuse(name, value, allowed)
        if low is not None and value < low:
            raise refuse(name, value, allowed)
        return float(value)

    return allowed, check


def flag() -> tuple[str, Check]:
    """True or false."""

    def check(name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise refuse(name, value, "true or false")
        return value

    return "true or false", check


def text() -> tuple[str, Check]:
    """A string that is not empty."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise refuse(name, value, "a string that is not empty")
        return value

    return "a string", check


def choice(*options: str, planned: Sequence[str] = ()) -> tuple[str, Check]:
    """One of the options, also when spelt with - or a space for _.

    `planned` values get an error of their own: known, but not built.
    """
    allowed = "one of " + ", ".join(options)

    def check(name: str, value: Any) -> str:
        if isinstance(value, str):
            value = value.replace("-", "_").replace(" ", "_")
        if isinstance(value, str) and value in planned:
            raise ParameterError(
                f"parameter {name}: {value!r} is not available in this version; give {allowed}"
            )
        if not isinstance(value, str) or value not in options:
            raise refuse(name, value, allowed)
        return value

    return allowed, check


def listing(
    item: tuple[str, Check], *, low: int = 0, high: int | None = None, unique: bool = False
) -> tuple[str, Check]:
    """A list whose items all pass `item`; a string alone is a list of one."""
    limits = f" of {low} to {high}" if high is not None else (f" of at least {low}" if low else "")
    allowed = f"a list{limits}, each {item[0]}"

    def check(name: str, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [value]
        if (
            not isinstance(value, list | tuple)
            or len(value) < low
            or (high is not None and len(value) > high)
        ):
            raise refuse(name, value, allowed)
        items = tuple(item[1](f"{name}[{index}]", entry) for index, entry in enumerate(value))
        if unique and len(set(items)) != len(items):
            raise refuse(name, value, allowed + ", without repeats")
        return items

    return allowed, check


def optional(inner: tuple[str, Check]) -> tuple[str, Check]:
    """The inner check, or null."""
    return f"{inner[0]}, or null", lambda name, value: None if value is None else inner[1](name, value)


def instant(*, end_of_day: bool = False) -> tuple[str, Check]:
    """Unix seconds, or an ISO date or date-time in UTC. A plain date is its first second, or its last one."""
    allowed = "Unix seconds or an ISO date (UTC)"

    def check(name: str, value: Any) -> int:
        seconds = _instant(value, end_of_day=end_of_day)
        if seconds is None or not 0 <= seconds <= MAX_TIME:
            raise refuse(name, value, allowed)
        return seconds

    return allowed, check


def moment() -> tuple[str, Check]:
    """Unix seconds, or an ISO date or date-time. A plain date stays text: a zone says when it is."""
    allowed = "Unix seconds or an ISO date"

    def check(name: str, value: Any) -> int | str:
        seconds = _instant(value, end_of_day=False)
        if seconds is None or not 0 <= seconds <= MAX_TIME:
            raise refuse(name, value, allowed)
        if isinstance(value, str) and len(value.strip()) <= len("2000-01-01"):
            return date.fromisoformat(value.strip()).isoformat()
        return seconds

    return allowed, check


def zone() -> tuple[str, Check]:
    """A time zone of the IANA table."""
    allowed = "the name of a time zone, for example UTC or Europe/Berlin"

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise refuse(name, value, allowed)
        try:
            return ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise refuse(name, value, allowed) from None

    return allowed, check


def _instant(value: Any, *, end_of_day: bool) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if end_of_day and len(value.strip()) <= len("2000-01-01"):
        moment += timedelta(days=1, seconds=-1)
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def external_name(field_name: str) -> str:
    """The parameter's name in JSON."""
    return field_name.rstrip("_")


def spec_of(field: dataclasses.Field[Any]) -> ParameterSpec:
    """The contract of a field made by `parameter`."""
    spec: ParameterSpec = field.metadata[_KEY]
    return spec


def parse(kind: type[P], given: Mapping[str, Any]) -> P:
    """Check JSON values against the dataclass and build it; defaults fill the rest.

    Raises:
        ParameterError: an unknown name, a value of the wrong type or range, or a combination that the
            dataclass's own `__post_init__` refuses.
    """
    fields = {external_name(field.name): field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = _by_own_names(fields, given)
    unknown = sorted(set(given) - set(fields))
    if unknown and unknown[0] in getattr(kind, "PLANNED", ()):
        raise ParameterError(
            f"parameter {unknown[0]} is not available in this version;"
            f" this analysis takes {', '.join(fields)}"
        )
    if unknown:
        raise ParameterError(
            f"unknown parameter {unknown[0]}; this analysis takes {', '.join(fields) or 'none'}"
        )
    missing = [name for name, field in fields.items() if field.default is MISSING and name not in given]
    if missing:
        spec = spec_of(fields[missing[0]])
        raise ParameterError(f"parameter {missing[0]} is required: give {spec.allowed} ({spec.doc})")
    values = {fields[name].name: spec_of(fields[name]).check(name, value) for name, value in given.items()}
    return kind(**values)


def _by_own_names(fields: Mapping[str, dataclasses.Field[Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values under the parameters' own names."""
    names = {alias: name for name, field in fields.items() for alias in spec_of(field).aliases}
    renamed: dict[str, Any] = {}
    given_as: dict[str, str] = {}
    for name, value in given.items():
        own = names.get(name, name)
        if own in renamed:
            both = f"{given_as[own]} and {name}"
            raise ParameterError(f"parameter {own} is given twice, as {both}; give it once")
        renamed[own], given_as[own] = value, name
    return renamed


def required(check: tuple[str, Check], doc: str, *, unit: str | None = None) -> Any:
    """A dataclass field without a default."""
    allowed, function = check
    return dataclasses.field(metadata={_KEY: ParameterSpec(function, allowed, unit, doc)})


def to_json(parameters: Any) -> dict[str, Any]:
    """The parameters as JSON values under their external names; `parse` reads them back."""
    return {
        external_name(field.name): _plain(getattr(parameters, field.name))
        for field in dataclasses.fields(parameters)
    }


def _plain(value: Any) -> Any:
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
