"""``sluice analyze``: an analysis on the add-on's tables, or a run that is repeated from its manifest."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addon.cli.analyses import Run, manifest_of, start
from addon.cli.client import Client, credentials
from addon.cli.failures import Exit, Failure
from addon.cli.output import Format, print_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOOK_S = 1
"""How often the line of progress is written anew."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for; words are as they were typed."""

    name: str | None
    database: str | None = None
    inputs: Sequence[str] = ()
    tables: Sequence[str] = ()
    columns: Sequence[str] = ()
    snapshots: Sequence[str] = ()
    params: str | None = None
    engine: str | None = None
    dialect: str | None = None
    pin: bool = False
    from_manifest: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the request of a first run.

        Raises:
            Failure: a word has another shape than it must have.
        """
        given = {
            "database": self.database,
            "inputs": parse_inputs(self.inputs),
            "tables": parse_tables(self.tables, self.columns),
            "snapshots": parse_snapshots(self.snapshots),
            "params": parse_params(self.params or "{}"),
            "engine": self.engine,
            "dialect": self.dialect,
            "pin": self.pin,
        }
        return {name: value for name, value in given.items() if value} | dict(self.more)

    def repeats(self) -> bool:
        """Tell whether a run is repeated.

        Raises:
            Failure: something stands beside the manifest that it says itself.
        """
        if self.from_manifest is None:
            return False
        beside = (self.inputs, self.tables, self.columns, self.snapshots, self.params, self.dialect, self.pin)
        if any(beside) or self.database is not None:
            advice = "Leave out everything but --engine and how the result is printed."
            raise Failure("--from-manifest says all", "other options stand beside it", advice, Exit.USAGE)
        return True


def analyze(
    root: Path, asked: Asked, *, form: Format, timeout: float, out: Path | None = None, progress: bool = False
) -> Exit:
    """Run an analysis and print its output tables on stdout; JSON is one object of all tables.

    With ``out``, write them to a run folder instead. With ``progress``, say on stderr how far it has come.
    """
    repeats = asked.repeats()
    body = {} if repeats else asked.body()
    with Client(*credentials(root)) as client:
        name = asked.name
        if repeats:
            body = {"from_manifest": _manifest(client, str(asked.from_manifest))}
            body |= {"engine": asked.engine} if asked.engine else {}
            name = name or str(body["from_manifest"].get("analysis"))
        if name is None:
            advice = "Write: sluice analyze NAME --db DATABASE, or sluice analyze --from-manifest RUN"
            raise Failure("No analysis is named", "", advice, Exit.USAGE)
        run = start(client, name, body)
        shown = run.wait(timeout, _line if progress else None, look_s=_LOOK_S if progress else 30)
        if progress:
            sys.stderr.write("\n")
        if out is not None:
            _keep(run, shown, out)
        else:
            _print({one["name"]: run.rows(one["name"]) for one in shown["outputs"]}, form)
    _warn(shown)
    return _same(shown["manifest"])


def _line(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()


def _manifest(client: Client, given: str) -> dict[str, Any]:
    """Return the manifest in a file, or the one of a run by its number."""
    if given.isascii() and given.isdigit():
        return manifest_of(client, given)
    try:
        found = json.loads(Path(given).read_text())
    except (OSError, ValueError) as error:
        advice = "Name a manifest.json, or the number of a run."
        raise Failure(f"{given} is no manifest", str(error), advice, Exit.USAGE) from error
    if not isinstance(found, dict):
        raise Failure(f"{given} is no manifest", "", "Name a manifest.json of a run.", Exit.USAGE)
    return found


def _print(outputs: Mapping[str, list[dict[str, Any]]], form: Format) -> None:
    if form is Format.JSON:
        json.dump(outputs, sys.stdout, indent=1)
        print()
        return
    for table, rows in outputs.items():
        if len(outputs) > 1:  # a single table is left as it is, for programs that read it
            print(f"# {table}", file=sys.stderr if form is Format.TABLE else sys.stdout)
        columns = list(rows[0]) if rows else []
        print_rows(columns, [list(row.values()) for row in rows], form, sys.stdout)


def _keep(run: Run, shown: Mapping[str, Any], out: Path) -> None:
    run.result(shown).write(out)
    for output in shown["outputs"]:
        print(f"{out / output['name']}.parquet  {output['rows']} rows  SQL: {output['table']}")
    print(f"{out / 'manifest.json'}  {shown['manifest']['result_hash']}")


def _warn(shown: Mapping[str, Any]) -> None:
    for text in shown.get("warnings", ()):
        print(text, file=sys.stderr)
    reasons = {table: why for table, why in shown["manifest"].get("rows_excluded", {}).items() if why}
    if reasons:
        print(f"rows excluded: {json.dumps(reasons)}", file=sys.stderr)


def _same(manifest: Mapping[str, Any]) -> Exit:
    """Check that a repeated run gave what the first one did."""
    repeats = manifest.get("repeats")
    if repeats is not None and not repeats["same"]:
        why = f"{manifest['result_hash']} is not {repeats['result_hash']}"
        advice = "Compare the two manifests; another version of the engine may round otherwise."
        raise Failure("The result differs from the manifest's", why, advice, Exit.JOB_FAILED)
    return Exit.OK


def parse_inputs(given: Sequence[str]) -> dict[str, str]:
    """Read ``TABLE=SQL`` words.

    Raises:
        Failure: a word has another shape.
    """
    example = '--input "items=SELECT product AS item, time FROM events"'
    return dict(_pair(word, "TABLE=SQL", example) for word in given)


def parse_tables(given: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """Read ``INPUT=TABLE`` words, and the ``INPUT.COLUMN=NAME`` words that go with them.

    Raises:
        Failure: a word has another shape, or maps a column of an input that no table was named for.
    """
    tables: dict[str, Any] = {}
    for word in given:
        name, table = _pair(word, "INPUT=TABLE", "--table events=shop.views")
        tables[name] = {"table": table.strip()}
    for word in columns:
        left, equals, source = word.partition("=")
        name, dot, column = left.partition(".")
        if not (dot and column and equals and source) or name not in tables:
            advice = "Write, for example: --table events=views --map events.user_id=visitor"
            why = f"{word[:80]!r} is not INPUT.COLUMN=NAME of an input that --table names"
            raise Failure("A column cannot be mapped", why, advice, Exit.USAGE)
        tables[name].setdefault("columns", {})[column] = source
    return tables


def parse_snapshots(given: Sequence[str]) -> dict[str, int]:
    """Read ``DATABASE.TABLE=VERSION`` words.

    Raises:
        Failure: a word has another shape.
    """
    found = {}
    for word in given:
        name, _, version = word.partition("=")
        if "." not in name or not (version.isascii() and version.isdigit()):
            why = f"{word[:80]!r} is not DATABASE.TABLE=VERSION"
            advice = "Write, for example: --snapshot shop.views=12"
            raise Failure("A snapshot cannot be read", why, advice, Exit.USAGE)
        found[name] = int(version)
    return found


def parse_params(text: str) -> dict[str, Any]:
    """Read the parameters: JSON, or ``@FILE`` with it.

    Raises:
        Failure: they are no JSON object, or the file cannot be read.
    """
    try:
        params = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise Failure(
            "--params is not JSON", str(error), "Write, for example: --params '{\"top\": 5}'", Exit.USAGE
        ) from error
    if not isinstance(params, dict):
        raise Failure("--params is not a JSON object", text[:80], "Write {…}.", Exit.USAGE)
    return params


def _pair(word: str, shape: str, example: str) -> tuple[str, str]:
    table, equals, rest = word.partition("=")
    if not (table.isidentifier() and equals and rest.strip()):
        why = f"{word[:80]!r} is not {shape}"
        raise Failure("An input cannot be read", why, f"Write, for example: {example}", Exit.USAGE)
    return table, rest
