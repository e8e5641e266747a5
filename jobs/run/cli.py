"""The command line of the jobs library: run, list, describe. The engines come from the composition root."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.contracts.errors import InputError, JobsError, ParameterError, UserError
from jobs.engine.port import Engine
from jobs.engine.staging import Source
from jobs.registry import find, names
from jobs.run.describe import describe, render
from jobs.run.progress import silent, to_file
from jobs.run.runner import MANIFEST_FORMAT, RunResult, hash_source, opened, run_analysis

EngineFactory = Callable[[], Engine]
USER_MISTAKE = 2
FAILURE = 1


class _Parser(argparse.ArgumentParser):
    """One line on a mistake, like every other error."""

    def error(self, message: str) -> Any:
        """End with 2."""
        raise UserError(f"{message}; see {self.prog} --help")


def _parser(engines: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m jobs", description="Analyses of events, touches and purchases, on files."
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    run = commands.add_parser(
        "run",
        help="run an analysis and write Parquet files and a manifest",
        epilog="Environment: SLUICE_DUCKDB_MEMORY_LIMIT (like 2GB; the rest goes to temporary files),"
        " SLUICE_DUCKDB_THREADS, SLUICE_SPARK_MASTER (default local[2]),"
        " SLUICE_SPARK_SHARED, SLUICE_SPARK_WAIT_S.",
    )
    run.add_argument("name", nargs="?", help="the analysis; not needed with --from-manifest")
    run.add_argument("--engine", choices=engines, help="default duckdb, or the manifest's engine")
    run.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="TABLE=FILE",
        help="CSV, Parquet, or a pinned version of a table (.snapshot.json); repeat for more tables or files",
    )
    run.add_argument(
        "--map", action="append", default=[], metavar="TABLE.COLUMN=NAME", help="the file's name of a column"
    )
    run.add_argument(
        "--snapshot", action="append", default=[], metavar="TABLE=VERSION", help="kept in the manifest"
    )
    run.add_argument("--params", metavar="JSON", help="a JSON object, or @FILE with one")
    run.add_argument("--from-manifest", type=Path, metavar="FILE", help="run again what a manifest describes")
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    run.add_argument(
        "--progress", type=Path, metavar="FILE", help="keep the stage and percentage there, as JSON"
    )
    listed = commands.add_parser("list", help="list the analyses")
    listed.add_argument("--json", action="store_true")
    described = commands.add_parser("describe", help="inputs, parameters and outputs of an analysis")
    described.add_argument("name")
    described.add_argument("--json", action="store_true")
    return parser


def main(arguments: Sequence[str], engines: Mapping[str, EngineFactory]) -> int:
    """Run a command. Returns the exit code: 0, 2 for the caller's mistakes, 1 for all other failures.

    Errors are one line on stderr.
    """
    try:
        options = _parser(tuple(engines)).parse_args(arguments)
        if options.command == "list":
            _list(as_json=options.json)
        elif options.command == "describe":
            _describe(options.name, as_json=options.json)
        else:
            _run(options, engines)
    except JobsError as error:
        line = " ".join(str(error).split())
        sys.stderr.write(f"error: {line}\n")
        return USER_MISTAKE if isinstance(error, UserError) else FAILURE
    return 0


def _list(*, as_json: bool) -> None:
    found = [{"name": name, "version": find(name).version, "summary": find(name).summary} for name in names()]
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    width = max(map(len, names()))
    for entry in found:
        sys.stdout.write(f"{entry['name']:<{width}}  {entry['summary']}\n")


def _describe(name: str, *, as_json: bool) -> None:
    description = describe(find(name))
    sys.stdout.write(json.dumps(description, indent=2) + "\n" if as_json else render(description))


def _run(options: argparse.Namespace, engines: Mapping[str, EngineFactory]) -> None:
    request = _from_manifest(options) if options.from_manifest else _from_options(options)
    engine = engines[options.engine or request["engine"]]()
    try:
        result = run_analysis(
            request["name"],
            engine,
            request["inputs"],
            request["params"],
            options.out,
            progress=silent if options.progress is None else to_file(options.progress),
        )
    finally:
        engine.close()
    _report(result, options.out)
    expected = request.get("result_hash")
    if expected is not None and expected != result.manifest["result_hash"]:
        raise JobsError(
            f"the result differs from the manifest's: {result.manifest['result_hash']} is not {expected}"
        )


def _report(result: RunResult, out: Path) -> None:
    for output, made in result.manifest["outputs"].items():
        sys.stdout.write(f"{out / output}.parquet  {made['rows']} rows\n")
    excluded = {table: reasons for table, reasons in result.manifest["rows_excluded"].items() if reasons}
    if excluded:
        sys.stdout.write(f"rows excluded: {json.dumps(excluded)}\n")
    sys.stdout.write(
        f"{out / 'manifest.json'}  {result.manifest['result_hash']}  {result.manifest['seconds']} s\n"
    )


def _from_options(options: argparse.Namespace) -> dict[str, Any]:
    if options.name is None:
        raise UserError(f"name an analysis; there are {', '.join(names())}")
    find(options.name)
    files: dict[str, list[Path]] = {}
    for given in options.input:
        table, file = _pair(given, "--input", "TABLE=FILE")
        files.setdefault(table, []).append(Path(file))
    renamed: dict[str, dict[str, str]] = {}
    for given in options.map:
        column, name = _pair(given, "--map", "TABLE.COLUMN=NAME")
        table, _, column = column.partition(".")
        if not column or table not in files:
            raise UserError(f"--map {given}: write TABLE.COLUMN=NAME with a table that --input names")
        renamed.setdefault(table, {})[column] = name
    snapshots = dict(_pair(given, "--snapshot", "TABLE=VERSION") for given in options.snapshot)
    inputs = {
        table: Source(files=tuple(listed), names=renamed.get(table, {}), snapshot=snapshots.get(table))
        for table, listed in files.items()
    }
    return {"name": options.name, "engine": "duckdb", "inputs": inputs, "params": _params(options.params)}


def _pair(given: str, option: str, shape: str) -> tuple[str, str]:
    left, equals, right = given.partition("=")
    if not left or not equals or not right:
        raise UserError(f"{option} {given}: write {shape}")
    return left, right


def _params(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    try:
        text = Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given
        value = json.loads(text)
    except OSError as error:
        raise ParameterError(f"--params {given}: {error.strerror}") from error
    except ValueError as error:
        raise ParameterError(f"--params is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ParameterError('--params must be a JSON object, like {"window": 86400}')
    return value


def _from_manifest(options: argparse.Namespace) -> dict[str, Any]:
    """What a manifest describes, after checking that its files still hold the same bytes."""
    path: Path = options.from_manifest
    if options.name or options.input or options.map or options.params:
        raise UserError("--from-manifest says all: leave out the name, --input, --map and --params")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != MANIFEST_FORMAT:
            raise InputError(
                f"{path}: format {manifest['format']} is unknown; this version reads {MANIFEST_FORMAT}"
            )
        _check_version(path, manifest)
        return {
            "name": manifest["analysis"],
            "engine": manifest["engine"],
            "inputs": {table: _source(path, table, entry) for table, entry in manifest["inputs"].items()},
            "params": manifest["params"],
            "result_hash": manifest["result_hash"],
        }
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a manifest of a run: {error!r}") from error


def _check_version(path: Path, manifest: Mapping[str, Any]) -> None:
    current = find(manifest["analysis"]).version
    if manifest["version"] != current:
        raise InputError(
            f"{path}: made by version {manifest['version']} of {manifest['analysis']};"
            f" this is version {current},"
            " whose result may differ: run it anew"
        )


def _source(path: Path, table: str, entry: Mapping[str, Any]) -> Source:
    if "files" not in entry:
        raise InputError(f"{path}: the input {table} was a table in memory, so it cannot be read again")
    files = tuple(Path(file) for file in entry["files"])
    for file in files:
        if not file.is_file():
            raise InputError(f"no such file: {file}, which the manifest names as {table}")
    source = opened(Source(files=files, names=entry.get("names", {}), snapshot=entry.get("snapshot")))
    if hash_source(source) != entry["sha256"]:
        raise InputError(f"{table}: {', '.join(map(str, files))} changed since the manifest was written")
    return source
