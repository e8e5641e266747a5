"""From a WAL record to rows: picks the decoder of the body's kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.ingest.decode_logplex import decode_logplex
from addon.ingest.decode_msgpack import decode_msgpack
from addon.ingest.decode_syslog import decode_syslog
from addon.ingest.files.options import dead_rows
from addon.ingest.inflate import inflate
from addon.ingest.json_lines import as_array, check
from addon.ingest.rows import Decoded, Origin
from addon.models.ingest import BodyKind
from addon.models.tables import TableRef
from platform_core.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.ingest.limits import IngestLimits
    from addon.ingest.record import Record


def origin_of(record: Record) -> Origin:
    """Return where a record's rows come from, for their dead letters."""
    batch = record.batch
    drain, file = batch.meta.get("drain"), batch.meta.get("file")
    source = f"upload:{file}" if file is not None else f"{batch.kind}:{drain}" if drain else str(batch.kind)
    return Origin(source, record.batch_id, int(batch.received_at))


def decode_records(
    records: Sequence[Record], segment: int, limits: IngestLimits, *, first: int = 0
) -> Decoded:
    """Decode the records of one segment; what cannot be decoded becomes dead letters, never an error.

    ``first`` is the first sequence number to use within the segment.
    """
    out = Decoded(limits.dead_letter_bytes, limits.dead_letters_per_batch)
    logplex = [record for record in records if record.batch.kind is BodyKind.LOGPLEX]
    if logplex:
        decode_logplex(logplex, segment, limits, out, first=first)
    messages = [record for record in records if record.batch.kind is BodyKind.SYSLOG]
    if messages:
        first += sum(len(record.batch.body) // 2 + 1 for record in logplex)  # more than it can have frames
        decode_syslog(messages, segment, limits, out, first=first)
    for record in records:
        if record.batch.kind not in {BodyKind.LOGPLEX, BodyKind.SYSLOG}:
            _decode_import(record, limits, out)
    return out


def _decode_import(record: Record, limits: IngestLimits, out: Decoded) -> None:
    batch = record.batch
    ref = TableRef(batch.account_id, batch.database, batch.table)
    origin = origin_of(record)
    for row in dead_rows(batch.meta.get("bad", "[]")):
        out.add_dead(batch.account_id, origin, row.reason, row.body.encode(), ref=ref)
    try:
        if batch.kind is BodyKind.FORWARD:
            decode_msgpack(batch.body, ref, origin, out, record_bytes=limits.record_bytes, create=True)
            return
        if batch.kind is BodyKind.MSGPACK_GZ:
            decode_msgpack(inflate(batch.body, limits), ref, origin, out, record_bytes=limits.record_bytes)
            return
        if record.clean:
            body = batch.body if batch.body.endswith(b"\n") else batch.body + b"\n"
            out.add_lines(ref, as_array(body), origin, create=False)
            return
        good, bad = check(batch.body, limits.record_bytes)
        out.add_lines(ref, good, origin, create=False)
        for line in bad:
            reason = f"line {line.number}: {line.reason}"
            out.add_dead(batch.account_id, origin, reason, line.body, ref=ref)
    except UserError as error:
        # The door accepted it: a stricter limit since then, or bit rot that the CRC missed.
        out.add_dead(batch.account_id, origin, f"body: {error.message}", batch.body, ref=ref)
