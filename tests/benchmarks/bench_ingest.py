"""How fast bytes that are on disk already become Parquet, against the plain ways to do the same in Python.

CPU seconds on one core, variants interleaved, best of the rounds. "Ours" is exact: types are checked, nothing
rounds or drops, dead letters are kept; the peers do none of that.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import msgpack
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from addon.ingest.decode import decode_records
from addon.ingest.limits import IngestLimits
from addon.ingest.log_tables import LOG_TABLES
from addon.ingest.record import Record, new_batch_id
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from addon.warehouse.parquet import _repetitive
from addon.warehouse.schema import TableSchema, seeded
from addon.warehouse.typed import Typer, aligned
from tests.benchmarks.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "ingest"
REF = TableRef(1, "shop", "events")
EVENTS = 100_000
LINES = 100_000
ROUNDS = 2
PER_BODY = 2_000


def _events() -> list[dict[str, object]]:
    rng = random.Random(7)  # noqa: S311 - test data
    return [
        {
            "time": 1_700_000_000 + n // 50,
            "user_id": rng.randrange(10**6),
            "dur_ms": round(rng.random() * 900, 3),
            "status": rng.choice((200, 200, 200, 404, 500)),
            "path": f"/products/{rng.randrange(2_000)}",
            "host": "shop.example.com",
            "event": rng.choice(("view", "cart", "purchase")),
            "agent": f"Mozilla/5.0 (X11; Linux x86_64) {rng.randrange(60)}",
            "referrer": f"https://search.example/{rng.randrange(400)}",
            "session": f"{rng.randrange(1 << 48):012x}",
            "geo": {"country": rng.choice(("DE", "JP", "US")), "lat": round(rng.random() * 90, 4)},
            "tags": ["a", "b"],
        }
        for n in range(EVENTS)
    ]


def _record(kind: BodyKind, body: bytes, *, clean: bool = False) -> Record:
    logplex = kind is BodyKind.LOGPLEX
    meta = {"app": "shop", "drain": "d.1"} if logplex else {}
    batch = Batch(kind, 1, "" if logplex else "shop", "" if logplex else "events", body, 1.7e9, None, meta)
    return Record(batch, new_batch_id(), "", len(body), clean)


def _parquet(table: pa.Table, dictionary: bool | list[str]) -> None:
    pq.write_table(table, io.BytesIO(), compression="zstd", compression_level=1, use_dictionary=dictionary)


def _ours(records: Sequence[Record], typer: Typer, schemas: dict[TableRef, TableSchema]) -> int:
    """Decode, type and write a segment's records as the flusher does, without its fsyncs; return the rows."""
    decoded = decode_records(records, 1, IngestLimits())
    rows = 0
    for ref, found in decoded.tables.items():
        schema = schemas.get(ref) or seeded(LOG_TABLES.get(ref.table, ()) if ref.database == "logs" else ())
        lines = found.lines()
        if lines is not None:
            typed = typer.type_lines(lines.texts, lines.receipt, schema)
            table, schema = typed.table, typed.schema
        else:
            table = aligned(pa.concat_tables(found.tables, promote_options="default"), schema)
        schemas[ref] = schema
        _parquet(table, _repetitive(table))
        rows += table.num_rows
    return rows


def _peer_ndjson(body: bytes) -> int:
    rows = [orjson.loads(line) for line in body.splitlines()]
    for row in rows:
        row["geo"], row["tags"] = orjson.dumps(row["geo"]).decode(), orjson.dumps(row["tags"]).decode()
    _parquet(pa.Table.from_pylist(rows), dictionary=True)
    return len(rows)


def _peer_msgpack(body: bytes) -> int:
    unpacker = msgpack.Unpacker(io.BytesIO(gzip.decompress(body)), max_buffer_size=0)
    rows = list(unpacker)
    for row in rows:
        row["geo"], row["tags"] = orjson.dumps(row["geo"]).decode(), orjson.dumps(row["tags"]).decode()
    _parquet(pa.Table.from_pylist(rows), dictionary=True)
    return len(rows)


_HEADER = re.compile(rb"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) (.*)", re.DOTALL)


def _peer_logplex(bodies: Sequence[bytes]) -> int:
    rows = []
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
    _parquet(pa.Table.from_pylist(rows), dictionary=True)
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


def _best(variants: Sequence[Callable[[], int]]) -> list[float]:
    """Return each variant's best rate in rows per CPU second, the variants taking turns."""
    best = [0.0] * len(variants)
    for _ in range(ROUNDS):
        for index, variant in enumerate(variants):
            began = time.process_time()
            rows = variant()
            best[index] = max(best[index], rows / (time.process_time() - began))
    return best


def figures() -> list[Figure]:
    """Measure on one core and return the figures."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        return _measure()
    finally:
        os.sched_setaffinity(0, allowed)


def _measure() -> list[Figure]:
    events = _events()
    ndjson = "".join(json.dumps(event) + "\n" for event in events).encode()
    packed = gzip.compress(b"".join(map(msgpack.packb, events)), 1)
    bodies = _logplex_bodies()
    typer, schemas = Typer(), dict[TableRef, TableSchema]()
    lines = [_record(BodyKind.NDJSON, ndjson, clean=True)]
    imports = [_record(BodyKind.MSGPACK_GZ, packed)]
    drained = [_record(BodyKind.LOGPLEX, body) for body in bodies]
    _ours(lines, typer, schemas)
    pairs = (
        ("ingest.ndjson", lines, lambda: _peer_ndjson(ndjson), "orjson + from_pylist", ">= 2 x peer"),
        (
            "ingest.msgpack_gz",
            imports,
            lambda: _peer_msgpack(packed),
            "msgpack + from_pylist",
            ">= 1.2 x peer",
        ),
        (
            "ingest.logplex",
            drained,
            lambda: _peer_logplex(bodies),
            "per-line Python + from_pylist",
            ">= 2 x peer",
        ),
    )
    found = []
    for name, records, peer, peer_name, bar in pairs:
        ours, theirs = _best([lambda records=records: _ours(records, typer, schemas), peer])
        found.append(
            Figure.measured(
                name, ours, "rows/s/core", bar=bar, peer=f"{peer_name} + Parquet", peer_value=theirs
            )
        )
    typer.close()
    return found
