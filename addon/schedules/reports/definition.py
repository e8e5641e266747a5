"""From a user's JSON to a definition, checked, and back without secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from addon.models.reports import DeliveryTarget, Period, ReportAnalysis, ReportDefinition
from addon.models.tables import LOGS_DATABASE, check_name
from addon.schedules.deliveries.port import MASK
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import choice, integer, optional, parameter, parse, zone
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.schedules.deliveries.port import Delivery

NAME = re.compile(r"^[a-z][a-z0-9_-]{0,63}$")
_KEY = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
_UNITS = ("hour", "day", "week", "month")
_FIELDS = ("name", "title", "currency", "period", "analyses", "deliveries", "keep_runs")
_MOST_ANALYSES, _MOST_DELIVERIES, _MOST_TITLE, _MOST_CURRENCY = 20, 20, 200, 16
_MOST_RUNS, _DEFAULT_RUNS = 1_000, 100
_OWN = frozenset({"key", "analysis", "title", "database"})
Check = Callable[[ReportAnalysis], None]


@dataclass(frozen=True, slots=True)
class PeriodSettings:
    """What the field ``period`` takes."""

    unit: str | None = parameter(None, optional(choice(*_UNITS)), "the length; all there is when null")
    zone: str = parameter("UTC", zone(), "whose calendar", aliases=("timezone",))
    which: str = parameter(
        "previous", choice("previous", "current"), "the one that is over, or the slot's own"
    )
    tolerance_s: int | None = parameter(
        None, optional(integer(0)), "how long before its end the newest row may lie", unit="seconds"
    )


def read_definition(
    name: str,
    body: Mapping[str, Any],
    ways: Mapping[str, Delivery],
    before: Sequence[DeliveryTarget] = (),
    check: Check | None = None,
) -> ReportDefinition:
    """Return a definition.

    Args:
        name: the report's.
        body: what a user sent, or what :func:`shown` gave with the secrets put back.
        ways: the ways of delivery by type.
        before: the deliveries as they are kept, whose secrets a mask stands for.
        check: looks at each analysis. Without it what is read passed once: neither analyses nor deliveries
            are asked again, so that a report can be shown whatever the service's settings are by now.

    Raises:
        InvalidInput: a field is not allowed; it says which, what was given, and what is allowed.
    """
    if not NAME.match(name):
        raise InvalidInput(
            f"The report name {name[:80]!r} is not valid.",
            hint="Use a letter, then up to 63 of the characters a-z, 0-9, _ and -.",
        )
    unknown = sorted(set(body) - set(_FIELDS))
    if unknown:
        raise InvalidInput(f"unknown parameter {unknown[0][:40]}; a report takes {', '.join(_FIELDS)}.")
    if body.get("name", name) != name:
        raise InvalidInput("parameter name: the report's name is the one in the path.")
    period = read_period(body)
    return ReportDefinition(
        name=name,
        title=_text(body, "title", name.replace("_", " ").replace("-", " ").capitalize(), _MOST_TITLE),
        currency=_text(body, "currency", "", _MOST_CURRENCY),
        period=period,
        analyses=_analyses(body.get("analyses"), check),
        deliveries=_deliveries(body.get("deliveries", []), ways, before, checked=check is None),
        keep_runs=_number(body, "keep_runs", _DEFAULT_RUNS, range(1, _MOST_RUNS + 1)),
    )


def shown(definition: ReportDefinition, ways: Mapping[str, Delivery]) -> dict[str, Any]:
    """Return a definition as JSON, a mask in each secret's place."""
    return {
        "name": definition.name,
        "title": definition.title,
        "currency": definition.currency,
        "period": {
            "unit": definition.period.unit,
            "zone": definition.period.zone,
            "which": definition.period.which,
            "tolerance_s": definition.period.tolerance_s,
        },
        "analyses": [
            {
                "key": one.key,
                "analysis": one.analysis,
                "title": one.title,
                "database": one.database,
                **one.request,
            }
            for one in definition.analyses
        ],
        "deliveries": [
            {"name": one.name, "type": one.type, **_masked(one.settings, ways[one.type].secrets)}
            for one in definition.deliveries
        ],
        "keep_runs": definition.keep_runs,
    }


def secrets_of(definition: ReportDefinition, ways: Mapping[str, Delivery]) -> dict[str, dict[str, Any]]:
    """Return the secrets by delivery and parameter."""
    return {
        one.name: {key: value for key, value in one.settings.items() if key in ways[one.type].secrets}
        for one in definition.deliveries
    }


def with_secrets(body: Mapping[str, Any], secrets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what :func:`shown` gave with the secrets in their places."""
    deliveries = [one | dict(secrets.get(one["name"], {})) for one in body["deliveries"]]
    return {**body, "deliveries": deliveries}


def _masked(settings: Mapping[str, Any], secrets: frozenset[str]) -> dict[str, Any]:
    return {key: MASK if key in secrets and value is not None else value for key, value in settings.items()}


def _text(body: Mapping[str, Any], name: str, default: str, most: int) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or len(value) > most or not (value.isprintable()):
        raise InvalidInput(
            f"parameter {name}: {_told(value)} is not allowed; give up to {most} printable characters."
        )
    return value or default


def _told(value: Any) -> str:
    """What was given, cut to a length that fits a message."""
    return repr(value)[:60]


def _number(body: Mapping[str, Any], name: str, default: int, allowed: range) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise InvalidInput(
            f"parameter {name}: {_told(value)} is not allowed; give an integer from {allowed[0]} to"
            f" {allowed[-1]}."
        )
    return value


def read_period(body: Mapping[str, Any]) -> Period:
    """Return a definition's period.

    Raises:
        InvalidInput: it is not allowed.
    """
    given = body.get("period")
    if given is None:
        given = {}
    if isinstance(given, str):
        given = {"unit": given}
    if not isinstance(given, dict):
        raise InvalidInput(
            f"parameter period: {_told(given)} is not allowed; give an object like"
            ' {"unit": "day", "zone": "UTC"}.'
        )
    try:
        found = parse(PeriodSettings, given)
    except ParameterError as error:
        text = (
            str(error)
            .replace("this analysis takes", "period takes")
            .replace("parameter ", "parameter period.")
        )
        raise InvalidInput(f"{text}.") from error
    return Period(found.unit, found.zone, found.which, found.tolerance_s)


def _analyses(given: Any, check: Check | None) -> tuple[ReportAnalysis, ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= _MOST_ANALYSES:
        told = f"a list of {len(given)}" if isinstance(given, list) else _told(given)
        raise InvalidInput(
            f"parameter analyses: {told} is not allowed; give a list of 1 to {_MOST_ANALYSES} analyses."
        )
    found: list[ReportAnalysis] = []
    for number, entry in enumerate(given):
        where = f"analyses[{number}]"
        one = _analysis(where, entry, {other.key for other in found})
        if check is not None:
            _try(where, one, check)
        found.append(one)
    return tuple(found)


def _analysis(where: str, entry: Any, taken: set[str]) -> ReportAnalysis:
    if not isinstance(entry, dict) or not isinstance(entry.get("analysis"), str):
        raise InvalidInput(
            f'parameter {where}: give an object like {{"analysis": "ranking", "inputs": {{…}}}}.'
        )
    name = entry["analysis"]
    key = entry.get("key") or _free(name, taken)
    if not isinstance(key, str) or not _KEY.match(key) or key in taken:
        raise InvalidInput(
            f"parameter {where}.key: {str(key)[:64]!r} is not allowed; give another name, of a-z, 0-9 and _."
        )
    database = entry.get("database", LOGS_DATABASE)
    if not isinstance(database, str):
        raise InvalidInput(f"parameter {where}.database: give a database's name.")
    try:
        check_name("database", database)
    except InvalidInput as error:
        raise InvalidInput(f"parameter {where}.database: {error}") from error
    request = {field: value for field, value in entry.items() if field not in _OWN}
    return ReportAnalysis(key, name, _text(entry, "title", "", _MOST_TITLE), database, request)


def _free(name: str, taken: set[str]) -> str:
    stem = name if _KEY.match(name) else "analysis"
    return (
        stem if stem not in taken else next(f"{stem}_{n}" for n in range(2, 99) if f"{stem}_{n}" not in taken)
    )


def _try(where: str, one: ReportAnalysis, check: Check) -> None:
    try:
        check(one)
    except (InvalidInput, NotFound) as error:
        raise InvalidInput(f"{where}: {error.message}", hint=error.hint) from error


def _deliveries(
    given: Any, ways: Mapping[str, Delivery], before: Sequence[DeliveryTarget], *, checked: bool
) -> tuple[DeliveryTarget, ...]:
    if not isinstance(given, list) or len(given) > _MOST_DELIVERIES:
        raise InvalidInput(f"parameter deliveries: give a list of up to {_MOST_DELIVERIES} deliveries.")
    found: list[DeliveryTarget] = []
    for number, entry in enumerate(given):
        where = f"deliveries[{number}]"
        kind = entry.get("type") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or kind not in ways:
            raise InvalidInput(
                f"parameter {where}.type: {str(kind)[:40]!r} is not allowed; give one of {', '.join(ways)}."
            )
        name = entry.get("name") or _free(kind, {one.name for one in found})
        if not isinstance(name, str) or not _KEY.match(name) or name in {one.name for one in found}:
            raise InvalidInput(
                f"parameter {where}.name: {str(name)[:64]!r} is not allowed;"
                " give another name, of a-z, 0-9 and _."
            )
        settings = {key: value for key, value in entry.items() if key not in {"name", "type"}}
        target = DeliveryTarget(name, kind, _unmasked(where, name, kind, settings, before))
        try:
            if not checked:
                ways[kind].check(target.settings)
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error.message}", hint=error.hint) from error
        found.append(target)
    return tuple(found)


def _unmasked(
    where: str, name: str, kind: str, settings: dict[str, Any], before: Sequence[DeliveryTarget]
) -> dict[str, Any]:
    """Put the kept secrets where a mask stands for them."""
    kept = next((one.settings for one in before if (one.name, one.type) == (name, kind)), {})
    for key, value in settings.items():
        if value == MASK:
            if key not in kept:
                raise InvalidInput(f"parameter {where}.{key}: no secret is kept that {MASK} could stand for.")
            settings[key] = kept[key]
    return settings
