"""Run one analysis: check, stage, compute, write, and say in a manifest what was done."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from jobs.analyses.identity import IDENTITY_EDGES, stitch
from jobs.contracts.errors import InputError
from jobs.contracts.parameters import parse, to_json
from jobs.contracts.pinned import SUFFIX, read_pinned
from jobs.engine.staging import Source, Staged, stage
from jobs.registry import find
from jobs.run.hashing import hash_files, hash_outputs
from jobs.run.progress import Progress, part, silent
from jobs.run.results import Result, Tables

if TYPE_CHECKING:
    from jobs.analyses.analysis import Analysis
    from jobs.engine.port import Engine
    from jobs.run.hashing import OutputHash

MANIFEST = "manifest.json"
#: Those of format 1 hold a result hash that was taken another way.
MANIFEST_FORMAT = 2

#: What an input may be given as: one file, several files read as one table, an Arrow table, or a full Source.
InputLike: TypeAlias = str | Path | Sequence[str | Path] | pa.Table | Source


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run.

    Attributes:
        manifest: what `manifest.json` holds.
        tables: the outputs by name, in their contract's columns, types and order; read from their files, each
            time anew, when an output folder was given.
        files: the Parquet file of each output, when an output folder was given.
    """

    manifest: dict[str, Any]
    tables: Mapping[str, pa.Table]
    files: dict[str, Path]


def as_source(given: InputLike) -> Source:
    """Normalise the ways an input may be given."""
    if isinstance(given, Source):
        return given
    if isinstance(given, pa.Table):
        return Source(table=given)
    if isinstance(given, str | Path):
        return Source(files=(Path(given),))
    return Source(files=tuple(Path(file) for file in given))


def opened(source: Source) -> Source:
    """Read the document where a pinned version of a table is given."""
    if not source.files or not source.files[0].name.endswith(SUFFIX) or source.pinned is not None:
        return source
    if len(source.files) > 1:
        raise InputError(f"{source.files[1]}: give one pinned version of a table, and nothing beside it")
    return replace(source, pinned=read_pinned(source.files[0]))


def hash_source(source: Source) -> str:
    """Return the SHA-256 of an input's files, or of what a pinned version names."""
    return hash_files(source.files) if source.pinned is None else source.pinned.sha256


def run_analysis(
    name: str,
    engine: Engine,
    inputs: Mapping[str, InputLike],
    params: Mapping[str, Any] | None = None,
    out: Path | None = None,
    *,
    progress: Progress = silent,
) -> RunResult:
    """Run an analysis on an engine.

    Args:
        name: as in `jobs.registry.names()`.
        engine: `jobs.engines.duck.DuckEngine()` or `jobs.engines.spark.SparkEngine()`. It is left open, with
            the run's relations in it; close it, or use it for the next run.
        inputs: contract table name to its source.
        params: JSON values under the names that `describe` lists.
        out: a folder for `<output>.parquet` and `manifest.json`; made when missing. Nothing is written
            without it.
        progress: is told the stage and the percentage.

    Raises:
        UserError: an unknown analysis, an impossible parameter, an input that breaks its contract.
        EngineError: the engine failed.
    """
    started, clock, spent = datetime.now(UTC), time.perf_counter(), time.process_time()
    analysis = find(name)
    parameters = parse(analysis.parameters, params or {})
    sources = {table: opened(as_source(given)) for table, given in inputs.items()}
    _check_tables(analysis, sources)
    # The files are hashed beside the work: neither waits for the other.
    with ThreadPoolExecutor(1, "hash-inputs") as beside:
        hashes = {
            table: beside.submit(hash_source, source) for table, source in sources.items() if source.files
        }
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        staged, results = _compute(analysis, engine, parameters, sources, progress=progress, out=out)
    progress(*part("writing", 0, 1))
    files = {output: result.file for output, (result, _) in results.items() if result.file is not None}
    tables = Tables(
        files, {output: result.table for output, (result, _) in results.items()} if not files else {}
    )
    manifest = {
        "format": MANIFEST_FORMAT,
        "analysis": analysis.name,
        "version": analysis.version,
        "params": to_json(parameters),
        "engine": engine.name,
        "engine_version": engine.version,
        "inputs": {
            table: _describe(sources[table], info, hashes.get(table)) for table, info in staged.items()
        },
        "rows_in": {table: info.rows_in for table, info in staged.items()},
        "rows_excluded": {table: dict(info.excluded) for table, info in staged.items()},
        "outputs": {
            output: {"file": f"{output}.parquet", "rows": result.rows}
            for output, (result, _) in results.items()
        },
        "notes": {output: tables[output].to_pylist() for output in results if analysis.output(output).noted},
        "result_hash": hash_outputs({output: digest for output, (_, digest) in results.items()}),
        "started_at": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "cpu_seconds": round(time.process_time() - spent, 3),
    }
    if out is not None:
        _forget_others(analysis, out, set(results), sources)
        (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return RunResult(manifest, tables, files)


def _forget_others(analysis: Analysis, out: Path, made: set[str], sources: Mapping[str, Source]) -> None:
    """Remove outputs that an earlier run of the analysis left here and this one, asked otherwise, has not."""
    read = {file.resolve() for source in sources.values() for file in source.files}
    for contract in analysis.outputs:
        left = out / f"{contract.name}.parquet"
        if contract.name not in made and left.resolve() not in read:
            left.unlink(missing_ok=True)


def _compute(
    analysis: Analysis,
    engine: Engine,
    parameters: Any,
    sources: Mapping[str, Source],
    *,
    progress: Progress,
    out: Path | None,
) -> tuple[dict[str, Staged], dict[str, tuple[Result, OutputHash]]]:
    more = analysis.more_columns(parameters)
    tables = [
        replace(table, columns=(*table.columns, *more.get(table.name, ())))
        for table in analysis.inputs
        if table.name in sources
    ]
    staged = {}
    for done, contract in enumerate(tables):
        progress(*part("staging", done, len(tables)))
        staged[contract.name] = stage(engine, contract, sources[contract.name])
    progress(*part("computing", 0, 1))
    if IDENTITY_EDGES.name in staged:
        stitch(engine, parameters.stitch, tables, {name: one.under for name, one in staged.items()})
    present = {table: info.present for table, info in staged.items()}
    relations = analysis.compute(engine, parameters, present)
    for table, reasons in analysis.count_excluded(engine, parameters, present).items():
        excluded = {**staged[table].excluded, **reasons}
        staged[table] = replace(staged[table], excluded=excluded)
    results = {}
    for done, (output, made) in enumerate(relations.items(), start=1):
        # What an engine has only planned so far, it computes now: the plan is one step more.
        progress(*part("computing", done, len(relations) + 1))
        result = Result(analysis.output(output), out)
        results[output] = result, result.fill(engine, made)
    return staged, results


def _check_tables(analysis: Analysis, sources: Mapping[str, Source]) -> None:
    known = {table.name: table for table in analysis.inputs}
    for given in sources:
        if given not in known:
            raise InputError(f"{analysis.name} has no input {given}; it reads {', '.join(known)}")
    for table in known.values():
        if table.required and table.name not in sources:
            columns = ", ".join(column.name for column in table.columns if column.required)
            raise InputError(
                f"{analysis.name} needs the input {table.name} ({columns}): give --input {table.name}=FILE"
            )
    analysis.check_inputs(frozenset(sources))


def _describe(source: Source, info: Staged, digest: Future[str] | None) -> dict[str, Any]:
    described: dict[str, Any] = {"columns": sorted(info.present)}
    if source.pinned is not None:
        described |= {"table": source.pinned.table, "version": source.pinned.version}
    if digest is not None:
        described["files"] = [str(file.absolute()) for file in source.files]  # repeatable from any folder
        described["sha256"] = digest.result()
    else:
        described["rows_in_memory"] = info.rows_in
    if source.names:
        described["names"] = dict(source.names)
    if source.snapshot is not None:
        described["snapshot"] = source.snapshot
    return described
