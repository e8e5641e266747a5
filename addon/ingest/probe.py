"""Which batches of a segment kill whoever decodes them: found out by a process that may die of it.

``python -m addon.ingest.probe SEGMENT KEY [BATCH...]`` decodes and types the segment's batches one by one,
but for the named ones, and says which it is at. ``deadly_batches`` runs it again and again until it lives.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from addon.ingest.decode import decode_records
from addon.ingest.frames import scan
from addon.ingest.limits import IngestLimits
from addon.ingest.record import decode
from addon.warehouse.schema import TableSchema
from addon.warehouse.typed import Typer
from platform_core.base.logs import configure_logs, get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.ingest.record import Record

BATCH_IS_DEADLY = "batch_is_deadly"
COMMAND = (sys.executable, "-m", "addon.ingest.probe")
_SECONDS = 300
_MOST = 50

log = get_logger(__name__)


def deadly_batches(segment: Path, key: int) -> frozenset[str]:
    """Return the ids of the batches whose decoding ends a process (or takes it 5 minutes)."""
    deadly: list[str] = []
    while len(deadly) < _MOST:
        culprit = _first_culprit([*COMMAND, str(segment), str(key), *deadly])
        if culprit is None:
            break
        log.error(BATCH_IS_DEADLY, segment=segment.name, batch=culprit)
        deadly.append(culprit)
    return frozenset(deadly)


def _first_culprit(command: Sequence[str]) -> str | None:
    """Run the probe; return the batch it died of."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=_SECONDS)
        said, died = done.stdout, done.returncode < 0
    except subprocess.TimeoutExpired as error:
        said, died = error.stdout or b"", True
    last = said.decode().split()[-1:]
    return last[0] if died and last else None


def main(arguments: Sequence[str]) -> int:
    """Decode and type one by one; stdout is for the batches' ids alone."""
    configure_logs("error")
    path, key, passed_over = Path(arguments[0]), int(arguments[1]), set(arguments[2:])
    data = path.read_bytes()
    typer = Typer(1, "1GB")
    for frame in scan(data, key, int(path.stem)).frames:
        try:
            record = decode(data[frame.start : frame.end])
        except ValueError:
            continue
        if record.batch_id not in passed_over:
            sys.stdout.write(f"{record.batch_id}\n")
            sys.stdout.flush()
            _try(record, int(path.stem), typer)
    return 0


def _try(record: Record, segment: int, typer: Typer) -> None:
    try:
        decoded = decode_records([record], segment, IngestLimits())
        for rows in decoded.tables.values():
            lines = rows.lines()
            if lines is not None:
                typer.type_lines(lines.texts, pa.array(lines.receipt), TableSchema())
    except Exception as error:  # noqa: BLE001 - errors are the flush's; this one looks for deaths
        sys.stderr.write(f"{record.batch_id}: {type(error).__name__}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
