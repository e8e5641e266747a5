"""How fast bytes that are on disk already become Parquet, against the plain ways to do the same in Python.

CPU seconds on one core, variants interleaved, the median of the rounds. "Ours" is exact: types are checked,
nothing rounds or drops, dead letters are kept; the peers do none of that. Below the figures stand the
physical limits that they can be held against: what the JSON reader takes to read the bytes at all, what
Parquet takes to write the columns.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import chdb
import msgpack
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from chdb import session

from addon.ingest.decode import decode_records
from addon.ingest.json_lines import as_array, is_clean
from addon.ingest.limits import IngestLimits
from addon.ingest.log_tables import LOG_TABLES
from addon.ingest.record import Record, new_batch_id
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from addon.warehouse.parquet import encoding
from addon.warehouse.schema import TableSchema, seeded
from addon.warehouse.typed import Typer, aligned
from tests.benchmarks.figures import Figure, interleaved, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAME = "ingest"
REF = TableRef(1, "shop", "events")
EVENTS = 100_000
LINES = 100_000
ROUNDS = 7
CHDB_ROUNDS = 5
EVENT_BYTES = range(262, 283)
"""What an event of the promise has, 272, give or take."""
PER_BODY = 2_000


def events(number: int) -> list[dict[str, object]]:
    """Return events of 12 fields, 272 bytes as JSON lines."""
    rng = random.Random(7)  # noqa: S311 - test data
    return [
        {
            "time": 1_700_000_000 + n // 50,
            "user_id": rng.randrange(10**6),
            "dur_ms": round(rng.random() * 900, 3),
            "status": rng.choice((200, 200, 200, 404, 500)),
            "path": f"/p/{rng.randrange(2_000)}",
            "host": "shop.example",
            "event": rng.choice(("view", "cart", "purchase")),
            "agent": f"Mozilla/{rng.randrange(60)}",
            "ref": f"https://s.example/{rng.randrange(400)}",
            "session": f"{rng.randrange(1 << 32):08x}",
            "geo": {"country": rng.choice(("DE", "JP", "US")), "lat": round(rng.random() * 90, 4)},
            "tags": ["a", "b"],
        }
        for n in range(number)
    ]


def _record(kind: BodyKind, body: bytes, *, clean: bool = False) -> Record:
    logplex = kind is BodyKind.LOGPLEX
    meta = {"app": "shop", "drain": "d.1"} if logplex else {}
    batch = Batch(kind, 1, "" if logplex else "shop", "" if logplex else "events", body, 1.7e9, None, meta)
    return Record(batch, new_batch_id(), "", len(body), clean)


def _parquet(table: pa.Table) -> None:
    pq.write_table(table, io.BytesIO(), compression="zstd", compression_level=1)


def _written(table: pa.Table, target: Path | None = None) -> int:
    pq.write_table(table, target or io.BytesIO(), **encoding(table, fresh=True))
    return int(table.num_rows)


@dataclass(slots=True)
class _Flush:
    """What the flusher has at hand, without its fsyncs."""

    typer: Typer = field(default_factory=Typer)
    schemas: dict[TableRef, TableSchema] = field(default_factory=dict)

    def typed(self, records: Sequence[Record]) -> Iterator[pa.Table]:
        """Decode and type a segment's records as the flusher does."""
        for ref, found in decode_records(records, 1, IngestLimits()).tables.items():
            seed = LOG_TABLES.get(ref.table, ()) if ref.database == "logs" else ()
            schema = self.schemas.get(ref) or seeded(seed)
            lines = found.lines()
            if lines is None:
                yield aligned(pa.concat_tables(found.tables, promote_options="default"), schema)
                continue
            typed = self.typer.type_lines(lines.texts, lines.receipt, schema)
            self.schemas[ref] = typed.schema
            yield typed.table

    def run(self, records: Sequence[Record], target: Path | None = None) -> int:
        """Take records all the way to Parquet, in memory or in a file; return the rows."""
        return sum(_written(table, target) for table in self.typed(records))


def _peer_ndjson(body: bytes) -> int:
    rows = [orjson.loads(line) for line in body.splitlines()]
    for row in rows:
        row["geo"], row["tags"] = orjson.dumps(row["geo"]).decode(), orjson.dumps(row["tags"]).decode()
    _parquet(pa.Table.from_pylist(rows))
    return len(rows)


def _peer_msgpack(body: bytes) -> int:
    unpacker = msgpack.Unpacker(io.BytesIO(gzip.decompress(body)), max_buffer_size=0)
    rows = list(unpacker)
    for row in rows:
        row["geo"], row["tags"] = orjson.dumps(row["geo"]).decode(), orjson.dumps(row["tags"]).decode()
    _parquet(pa.Table.from_pylist(rows))
    return len(rows)


_HEADER = re.compile(rb"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) (.*)", re.DOTALL)


def _peer_logplex(bodies: Sequence[bytes]) -> int:
    rows: list[dict[str, object]] = []
    for body in bodies:
        position = 0
        while position < len(body):
            space = body.index(b" ", position)
            end = space + 1 + int(body[position:space])
            found = _HEADER.match(body[space + 1 : end])
            position = end
            if found is None:
                continue
            stamp = datetime.fromisoformat(found[2].decode())
            rows.append(
                {
                    "time": int(stamp.timestamp()),
                    "app": "shop",
                    "source": found[4].decode(),
                    "process": found[5].decode(),
                    "severity": int(found[1]) & 7,
                    "timestamp_us": int(stamp.timestamp() * 1e6),
                    "drain": "d.1",
                    "seq": len(rows),
                    "message": found[7].decode().rstrip("\n"),
                }
            )
    _parquet(pa.Table.from_pylist(rows))
    return len(rows)


def _logplex_bodies() -> list[bytes]:
    rng = random.Random(9)  # noqa: S311 - test data
    bodies = []
    for first in range(0, LINES, PER_BODY):
        frames = []
        for n in range(first, first + PER_BODY):
            stamp = f"2026-11-25T13:{n // 60_000:02d}:{n // 1_000 % 60:02d}.{n % 1_000:03d}000+00:00"
            path = f"/products/{rng.randrange(2_000)}"
            text = f"request {n} for {path} took a while: {rng.random():.12f} and more of it"
            line = f"<190>1 {stamp} host app web.{n % 4 + 1} - {text}\n".encode()
            frames.append(b"%d %b" % (len(line), line))
        bodies.append(b"".join(frames))
    return bodies


def _cpu(work: Callable[[], int]) -> Callable[[], float]:
    return timed(work, time.process_time)


def figures() -> list[Figure]:
    """Measure on one core and return the figures."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        return _measure()
    finally:
        os.sched_setaffinity(0, allowed)


def _measure() -> list[Figure]:
    rows = events(EVENTS)
    ndjson = "".join(json.dumps(event) + "\n" for event in rows).encode()
    if len(ndjson) // EVENTS not in EVENT_BYTES:
        raise ValueError(f"an event has {len(ndjson) // EVENTS} bytes")
    packed = gzip.compress(b"".join(map(msgpack.packb, rows)), 1)
    bodies = _logplex_bodies()
    flush, without_kernel = _Flush(), _Flush(Typer(compiled=False))
    lines = [_record(BodyKind.NDJSON, ndjson, clean=True)]
    imports = [_record(BodyKind.MSGPACK_GZ, packed)]
    drained = [_record(BodyKind.LOGPLEX, body) for body in bodies]
    flush.run(lines)
    without_kernel.run(lines)
    peer = "orjson + from_pylist", "msgpack + from_pylist", "per-line Python + from_pylist"
    found = [
        _against(
            "ingest.ndjson",
            lambda: flush.run(lines),
            lambda: _peer_ndjson(ndjson),
            peer[0],
            bar=">= 6 x peer",
        ),
        _against(
            "ingest.msgpack_gz",
            lambda: flush.run(imports),
            lambda: _peer_msgpack(packed),
            peer[1],
            bar=">= 2 x peer",
        ),
        _against(
            "ingest.logplex",
            lambda: flush.run(drained),
            lambda: _peer_logplex(bodies),
            peer[2],
            bar=">= 4 x peer",
        ),
        _against(
            "ingest.ndjson_kernel",
            lambda: flush.run(lines),
            lambda: without_kernel.run(lines),
            "the same through DuckDB's JSON reader",
            bar=">= 1.5 x peer",
        ),
        _against_clickhouse(ndjson, lambda target: flush.run(lines, target)),
        *_limits(ndjson, flush, lines),
    ]
    flush.typer.close()
    without_kernel.typer.close()
    return found


def _against(
    name: str, ours: Callable[[], int], peer: Callable[[], int], peer_name: str, *, bar: str
) -> Figure:
    if ours() != peer():
        raise ValueError(f"{name} and its peer disagree on the rows")
    seconds = interleaved({"ours": _cpu(ours), "peer": _cpu(peer)}, ROUNDS)
    return Figure.measured(
        name,
        EVENTS / seconds["ours"],
        "rows/s/core",
        bar=bar,
        peer=f"{peer_name} + Parquet",
        peer_value=EVENTS / seconds["peer"],
    )


def _against_clickhouse(ndjson: bytes, ours: Callable[[Path], int]) -> Figure:
    """Compare with ClickHouse in process: an INSERT of the same bytes into a MergeTree table, one thread.

    Both write files to the same disk, in LZ4, and sync none. ClickHouse's merges are stopped: they would go
    on in the background, and count for whoever is measured meanwhile.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "events.ndjson"
        source.write_bytes(ndjson)
        clickhouse = cast("Any", session).Session(f"{folder}/clickhouse")
        clickhouse.query(
            "create database shop; create table shop.events (time Int64, user_id Int64, dur_ms Float64, "
            "status Int64, path String, host String, event LowCardinality(String), agent String, ref String, "
            "session String, geo String, tags String) engine = MergeTree order by time; "
            "system stop merges shop.events"
        )
        insert = (
            f"insert into shop.events select * from file('{source}', JSONEachRow) settings max_threads = 1, "  # noqa: S608 - our own path
            "max_insert_threads = 1, input_format_parallel_parsing = 0, "
            "input_format_json_read_objects_as_strings = 1, input_format_json_read_arrays_as_strings = 1"
        )
        rounds = interleaved(
            {
                "ours": _cpu(lambda: ours(Path(folder) / "events.parquet")),
                "peer": _cpu(lambda: clickhouse.query(insert)),
            },
            CHDB_ROUNDS,
        )
        stored = int(str(clickhouse.query("select count() from shop.events")).strip())
        clickhouse.close()
    if stored != EVENTS * CHDB_ROUNDS:
        raise ValueError(f"ClickHouse stored {stored} rows")
    return Figure.measured(
        "ingest.ndjson_clickhouse",
        EVENTS / rounds["ours"],
        "rows/s/core",
        bar=">= 1 x peer",
        peer=f"chdb {chdb.__version__} INSERT FORMAT JSONEachRow into MergeTree",
        peer_value=EVENTS / rounds["peer"],
    )


def _limits(ndjson: bytes, flush: _Flush, lines: Sequence[Record]) -> list[Figure]:
    """Measure what bounds the first figure: the JSON reader alone, the Parquet encoder alone."""
    array = as_array(ndjson)
    (table,) = flush.typed(lines)
    seconds = interleaved(
        {
            "json": _cpu(lambda: is_clean(ndjson, array) and EVENTS),
            "parquet": _cpu(lambda: _written(table)),
        },
        ROUNDS,
    )
    reader = len(ndjson) / seconds["json"] / 1e6
    return [
        Figure.measured("ingest.limit.json_reader", reader, "MB/s/core", bar="> 0 MB/s/core"),
        Figure.measured(
            "ingest.limit.parquet_encode", EVENTS / seconds["parquet"], "rows/s/core", bar="> 0 rows/s/core"
        ),
    ]
