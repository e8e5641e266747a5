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
import pyarrow.parquet as pq

from jobs.analyses.identity import IDENTITY_EDGES, stitch
from jobs.contracts.errors import EngineError, InputError
from jobs.contracts.parameters import parse, to_json
from jobs.contracts.tables import ColumnType, OutputTable
from jobs.engine.staging import Source, Staged, stage
from jobs.engine.text import query
from jobs.registry import find
from jobs.run.hashing import hash_files, hash_tables
from jobs.run.progress import Progress, part, silent

if TYPE_CHECKING:
    from jobs.analyses.analysis import Analysis
    from jobs.engine.port import Engine

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
_ARROW = {
    ColumnType.BIGINT: pa.int64(),
    ColumnType.INTEGER: pa.int32(),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.VARCHAR: pa.string(),
    ColumnType.BOOLEAN: pa.bool_(),
}

#: What an input may be given as: one file, several files read as one table, an Arrow table, or a full Source.
InputLike: TypeAlias = str | Path | Sequence[str | Path] | pa.Table | Source


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run.

    Attributes:
        manifest: what `manifest.json` holds.
        tables: the outputs by name, in their contract's columns, types and order.
        files: the Parquet file of each output, when an output folder was given.
    """

    manifest: dict[str, Any]
    tables: dict[str, pa.Table]
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
    sources = {table: as_source(given) for table, given in inputs.items()}
    _check_tables(analysis, sources)
    # The files are hashed beside the work: neither waits for the other.
    with ThreadPoolExecutor(1, "hash-inputs") as beside:
        hashes = {
            table: beside.submit(hash_files, source.files)
            for table, source in sources.items()
            if source.files
        }
        staged, tables = _compute(analysis, engine, parameters, sources, progress)
    progress(*part("writing", 0, 1))
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
            output: {"file": f"{output}.parquet", "rows": table.num_rows} for output, table in tables.items()
        },
        "notes": {
            output: table.to_pylist() for output, table in tables.items() if analysis.output(output).noted
        },
        "result_hash": hash_tables(
            {output: (table, analysis.output(output).key) for output, table in tables.items()}
        ),
        "started_at": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "cpu_seconds": round(time.process_time() - spent, 3),
    }
    return RunResult(manifest, tables, _write(out, tables, manifest) if out is not None else {})


def _compute(
    analysis: Analysis, engine: Engine, parameters: Any, sources: Mapping[str, Source], progress: Progress
) -> tuple[dict[str, Staged], dict[str, pa.Table]]:
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
        stitch(engine, parameters.stitch, tables)
    present = {table: info.present for table, info in staged.items()}
    relations = analysis.compute(engine, parameters, present)
    for table, reasons in analysis.count_excluded(engine, parameters, present).items():
        excluded = {**staged[table].excluded, **reasons}
        staged[table] = replace(staged[table], excluded=excluded)
    collected = {}
    for done, (output, relation) in enumerate(relations.items(), start=1):
        # What an engine has only planned so far, it computes now: the plan is one step more.
        progress(*part("computing", done, len(relations) + 1))
        collected[output] = _collect(engine, analysis.output(output), relation)
    return staged, collected


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


def _collect(engine: Engine, output: OutputTable, relation: str) -> pa.Table:
    columns = ", ".join(engine.dialect.identifier(column.name) for column in output.columns)
    table = engine.collect(query("staging", "result", columns=columns, relation=relation, order=output.order))
    schema = pa.schema(
        [pa.field(column.name, _ARROW[column.type], column.nullable) for column in output.columns]
    )
    for column in output.columns:
        if not column.nullable and table.column(column.name).null_count:
            raise EngineError(f"output {output.name}: NULL in {column.name}, which the contract rules out")
    return table.cast(pa.schema([field.with_nullable(True) for field in schema])).cast(schema)


def _describe(source: Source, info: Staged, digest: Future[str] | None) -> dict[str, Any]:
    described: dict[str, Any] = {"columns": sorted(info.present)}
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


def _write(out: Path, tables: Mapping[str, pa.Table], manifest: Mapping[str, Any]) -> dict[str, Path]:
    out.mkdir(parents=True, exist_ok=True)
    files = {output: out / f"{output}.parquet" for output in tables}
    for output, file in files.items():
        pq.write_table(tables[output], file)
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return files
