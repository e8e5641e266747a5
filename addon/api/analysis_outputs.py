"""One output of a run on its way out: the stored Parquet file, or Arrow, JSON or CSV made from it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from fastapi.responses import FileResponse, Response, StreamingResponse

from addon.models.jobs import JobState
from addon.query.result_arrow import taken
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import Request

    from addon.models.jobs import Job
    from addon.query.saved_runs import SavedRuns

_MEDIA = {
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
    "json": "application/json",
    "csv": "text/csv",
}
_BATCH = 65_536


def output_response(job: Job, table: str, saved: SavedRuns, request: Request, form: str | None) -> Response:
    """Answer with an output in a form: the one that is named, else the first that Accept has, else Parquet.

    Raises:
        NotFound: the run has no such output, or has not ended well.
        InvalidInput: the form is not known.
    """
    if job.state is not JobState.SUCCESS or table not in saved.outputs(job):
        raise NotFound(f"The analysis {job.id} has no output {table[:80]!r}.")
    if form is not None and form not in _MEDIA:
        raise InvalidInput(f"The format {form[:40]!r} is not known.", hint=f"Use one of {', '.join(_MEDIA)}.")
    accept = request.headers.get("accept", "")
    chosen = form or next((name for name, media in _MEDIA.items() if media in accept), "parquet")
    path = saved.folder(job) / f"{table}.parquet"
    if chosen == "parquet":
        return FileResponse(path, media_type=_MEDIA[chosen], filename=f"{table}.parquet")
    attached = {"content-disposition": f'attachment; filename="{table}.{chosen}"'}
    return StreamingResponse(_WRITERS[chosen](path), media_type=_MEDIA[chosen], headers=attached)


def _batches(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    file = pq.ParquetFile(path)
    return file.schema_arrow, file.iter_batches(_BATCH)


def _json(path: Path) -> Iterator[bytes]:
    """Write one object whose ``rows`` are objects; NaN and infinities are null."""
    yield b'{"rows":['
    between = b""
    for batch in _batches(path)[1]:
        if batch.num_rows:
            yield between + orjson.dumps(batch.to_pylist(), default=str)[1:-1]
            between = b","
    yield b"]}"


def _arrow(path: Path) -> Iterator[bytes]:
    schema, batches = _batches(path)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield taken(sink)
    yield taken(sink)


def _csv(path: Path) -> Iterator[bytes]:
    schema, batches = _batches(path)
    sink = io.BytesIO()
    with pyarrow.csv.CSVWriter(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield taken(sink)
    yield taken(sink)


_WRITERS = {"json": _json, "arrow": _arrow, "csv": _csv}
