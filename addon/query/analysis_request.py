"""What an analysis is asked for with: checked at the door, and read back from the manifest of a run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from addon.models.tables import TableRef
from addon.query.analysis_inputs import FED
from addon.query.dialects import DIALECTS
from addon.query.pins import Pin
from jobs.contracts.errors import UnknownAnalysisError, UserError
from jobs.contracts.parameters import parse
from jobs.registry import find, names
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from addon.models.jobs import JobRequest
    from addon.query.pins import Pins
    from addon.query.saved_runs import RunRef
    from jobs.analyses.analysis import Analysis

ENGINES = frozenset({"duckdb", "spark"})
NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
FIELDS = frozenset(
    {
        "database", "inputs", "params", "engine", "dialect", "pin", "snapshots",
        "priority", "retry_limit", "domain_key",
    }
)  # fmt: skip
PRIORITIES, RETRIES = range(-2, 3), range(1_001)
MAX_DOMAIN_KEY = 255
MANIFEST_FORMAT = 2
"""The one that ``python -m jobs run`` writes."""
_ANEW = "Run the analysis anew, with its inputs as SQL."


def check_request(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an analysis request as the job keeps it.

    Raises:
        NotFound: there is no such analysis.
        InvalidInput: a field is missing or malformed, or not what the analysis takes.
    """
    analysis = find_analysis(name)
    if "from_manifest" in body:
        body = _asked_before(analysis, body)
    elif unknown := sorted(set(body) - FIELDS):
        there = sorted(FIELDS | {"tables", "from_manifest"})  # both are inputs by now
        raise InvalidInput(f"There is no field {unknown[0][:80]!r}.", hint=f"There are {', '.join(there)}.")
    inputs, params, engine = body.get("inputs"), body.get("params", {}), body.get("engine", "duckdb")
    empty = not inputs and name not in FED
    if not isinstance(inputs, dict) or empty or not all(map(_is_input, inputs.items())):
        raise InvalidInput("The field inputs must map table names to SELECT statements.")
    check_params(analysis, params)
    if not isinstance(engine, str) or engine not in ENGINES:
        raise InvalidInput(f"There is no engine {str(engine)[:40]!r}.", hint="Use duckdb or spark.")
    dialect = body.get("dialect", "duckdb")
    if not isinstance(dialect, str) or dialect not in DIALECTS:
        raise InvalidInput(
            f"The dialect {str(dialect)[:40]!r} is not known.", hint=f"Use one of {', '.join(DIALECTS)}."
        )
    _check_shape(analysis, inputs or dict.fromkeys((table.name for table in analysis.inputs), ""))
    pin = body.get("pin", False)
    if not isinstance(pin, bool):
        raise InvalidInput("The field pin must be true or false.")
    request: dict[str, Any] = {
        "name": name,
        "inputs": inputs,
        "params": params,
        "engine": engine,
        "dialect": dialect,
    }
    request |= {"pin": True} if pin else {}
    request |= {"snapshots": named} if (named := _snapshots(body)) else {}
    return {**request, "again": body["again"]} if "again" in body else request


def find_analysis(name: str) -> Analysis:
    """Return an analysis.

    Raises:
        NotFound: there is none of that name; the hint lists them.
    """
    try:
        return find(name)
    except UnknownAnalysisError as error:
        raise NotFound(
            f"There is no analysis {name[:80]!r}.", hint=f"There are {', '.join(names())}."
        ) from error


def _snapshots(body: Mapping[str, Any]) -> list[list[Any]]:
    """Return the versions that tables shall be read at, as [database, table, version]."""
    given = body.get("snapshots", {})
    if not isinstance(given, dict):
        raise InvalidInput('The field snapshots must be an object like {"shop.views": 12}.')
    found = []
    for name, version in given.items():
        database, dot, table = name.partition(".")
        if not dot or isinstance(version, bool) or not isinstance(version, int) or version < 0:
            raise InvalidInput(
                f"The snapshot {name[:140]!r}: {json.dumps(version)[:40]} is not a version of a table.",
                hint='Write "database.table" and a number, like {"shop.views": 12}.',
            )
        found.append([database, table, version])
    return found


def check_schedule(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the queue is told of a run: priority, retry_limit, domain_key.

    Raises:
        InvalidInput: one of them is not what it may be.
    """
    for name, allowed in (("priority", PRIORITIES), ("retry_limit", RETRIES)):
        value = body.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise InvalidInput(
                f"The field {name} must be {allowed[0]} to {allowed[-1]}, not {json.dumps(value)[:40]}."
            )
    key = body.get("domain_key")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= MAX_DOMAIN_KEY):
        raise InvalidInput(f"The field domain_key must be a text of at most {MAX_DOMAIN_KEY} characters.")
    return {
        "priority": body.get("priority", 0),
        "retry_limit": body.get("retry_limit", 0),
        "domain_key": key,
    }


def _is_input(item: tuple[Any, Any]) -> bool:
    table, sql = item
    return isinstance(table, str) and bool(NAME.match(table)) and isinstance(sql, str)


def check_params(analysis: Analysis, params: Any) -> None:
    """Check the parameters of an analysis.

    Raises:
        InvalidInput: they are no object, or one is not allowed; the message names it, what was given and what
            is allowed.
    """
    if not isinstance(params, dict):
        raise InvalidInput(f"The field params must be an object, not {json.dumps(params)[:80]}.")
    try:
        parse(analysis.parameters, params)
    except UserError as error:
        raise InvalidInput(f"{error}.") from error


def _check_shape(analysis: Analysis, inputs: Mapping[str, str]) -> None:
    known = [table.name for table in analysis.inputs]
    unknown = [table for table in inputs if table not in known]
    missing = [table.name for table in analysis.inputs if table.required and table.name not in inputs]
    if unknown:
        raise InvalidInput(
            f"{analysis.name} has no input {unknown[0]}.", hint=f"It reads {', '.join(known)}."
        )
    if missing:
        raise InvalidInput(
            f"{analysis.name} needs the input {missing[0]}.", hint="Give its SELECT in inputs."
        )
    try:
        analysis.check_inputs(frozenset(inputs))
    except UserError as error:
        raise InvalidInput(f"{error}.") from error


def database_of(body: Mapping[str, Any], default: str) -> Any:
    """Return the database that a request names, itself or by its manifest; not checked yet."""
    manifest = body.get("from_manifest")
    inputs = manifest.get("inputs") if isinstance(manifest, dict) else None
    if not isinstance(inputs, dict):
        return body.get("database", default)
    first = next(iter(inputs.values()), None)
    return first.get("database") if isinstance(first, dict) else None


def _asked_before(analysis: Analysis, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that a manifest describes; ``again`` holds what must be as it was then."""
    if set(body) - {"from_manifest", "engine", "priority", "retry_limit", "domain_key"}:
        raise InvalidInput("from_manifest says all.", hint="Give nothing beside it, except another engine.")
    manifest = body["from_manifest"]
    try:
        if manifest["format"] != MANIFEST_FORMAT or manifest["analysis"] != analysis.name:
            raise InvalidInput(f"The manifest is not one of {analysis.name}, or of another format.")
        if manifest["version"] != analysis.version:
            raise InvalidInput(
                f"The manifest was made by version {manifest['version']} of {analysis.name}; this is"
                f" version {analysis.version}, whose result may differ.",
                hint=_ANEW,
            )
        inputs = manifest["inputs"]
        if any("meters_of" in entry for entry in inputs.values()):
            raise InvalidInput(
                "The manifest's inputs were the service's own meters, which have counted on since.",
                hint=_ANEW,
            )
        if any("sql" not in entry for entry in inputs.values()):
            raise InvalidInput("The manifest names files, no queries.", hint=_ANEW)
        dialects = {(entry["dialect"], entry["database"]) for entry in inputs.values()}
        ((dialect, _),) = dialects
        return {
            "inputs": {table: entry["sql"] for table, entry in inputs.items()},
            "params": manifest["params"],
            "engine": body.get("engine", manifest["engine"]),
            "dialect": dialect,
            "again": {
                "at": _whole(manifest["queried_at"]),
                "result_hash": str(manifest["result_hash"]),
                "tables": _tables(inputs.values()),
            },
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            "from_manifest is not a manifest of an analysis of this service.",
            hint="Send what GET /api/analyses/{name}/runs/{run}/manifest gives, or the number of a run.",
        ) from error


def _tables(inputs: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    found: list[tuple[str, str, int | None, str]] = [
        (
            str(table["database"]),
            str(table["table"]),
            None if table["version"] is None else _whole(table["version"]),
            str(table["files_sha256"]),
        )
        for entry in inputs
        for table in entry["tables"]
    ]
    named = {one[:2]: one for one in found}
    if len(named) != len(set(found)):
        raise ValueError("one table in two versions")
    return [list(one) for one in named.values()]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise ValueError("not a whole number")
    return value


def named_pins(account_id: int, params: Mapping[str, Any]) -> dict[TableRef, Pin]:
    """Return the versions that a run must read: those that it names, or all of a repeated one."""
    named = {
        TableRef(account_id, database, table): Pin(version)
        for database, table, version in params.get("snapshots", ())
    }
    again = {
        TableRef(account_id, database, table): Pin(version, files)
        for database, table, version, files in params.get("again", {}).get("tables", ())
    }
    return named | again


def completed(  # noqa: PLR0917  (all that a run knows of itself)
    manifest: Mapping[str, Any],
    request: JobRequest,
    read: Mapping[str, Iterable[TableRef]],
    pins: Pins,
    at: int,
    runs: Mapping[str, Iterable[RunRef]],
) -> dict[str, Any]:
    """Return the run's manifest with its inputs as queries instead of files that are deleted.

    ``read`` holds the tables per input, ``runs`` the outputs of other runs, ``at`` is the Unix second that
    the queries took for now. A repeated run also says what its result should have been, and whether it is.
    """
    params, inputs = request.params, {}
    for table, entry in manifest["inputs"].items():
        kept = {name: value for name, value in entry.items() if name != "files"}
        if table not in params["inputs"]:
            inputs[table] = {**kept, "meters_of": request.account_id}
            continue
        query = {"sql": params["inputs"][table], "dialect": params["dialect"], "database": request.database}
        inputs[table] = {
            **kept,
            **query,
            "tables": [_table(ref, pins.of(ref)) for ref in sorted(read[table])],
        }
        if outputs := sorted(runs.get(table, ())):
            inputs[table]["runs"] = [ref._asdict() for ref in outputs]
    whole = {**manifest, "inputs": inputs, "queried_at": at}
    if "again" in params:
        expected = params["again"]["result_hash"]
        whole["repeats"] = {"result_hash": expected, "same": expected == manifest["result_hash"]}
    return whole


def _table(ref: TableRef, pin: Pin) -> dict[str, Any]:
    return {
        "database": ref.database,
        "table": ref.table,
        "version": pin.version,
        "files_sha256": pin.files,
    }
