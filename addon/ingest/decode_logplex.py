"""logplex-1 records to rows: event lines to their own tables, every other line to the tables of ``logs``.

Works on all bodies of a segment at once (the columnar parser is fastest on large input), one account after
the other. Who a line is from comes from the record's meta data (the drain's credentials), never from its
text.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from addon.ingest import log_lines
from addon.ingest.json_lines import as_array, is_clean, line_fault
from addon.ingest.log_tables import DYNO_FIELDS, LOG_TABLES, METRIC_FIELDS, SEVERITIES, SYSLOG_FIELDS
from addon.ingest.logplex_columns import LogColumns, parse_bodies
from addon.ingest.names import split_tag
from addon.ingest.router_columns import router_table
from addon.ingest.rows import Decoded, Origin
from addon.models.tables import LOGS_DATABASE, TableRef
from addon.warehouse.schema import ARROW_TYPES
from platform_core.wire import syslog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.ingest.limits import IngestLimits
    from addon.ingest.record import Record

SEQUENCE_BITS = 26
"""Sequence numbers of a segment: its bodies, 80 MiB at most, hold fewer than 2^26 frames of 3 bytes."""
Flags = np.ndarray[Any, np.dtype[np.bool_]]
_EVENT = r"(?s)^\s*@\[(?P<tag>[^\s\]]+)\] (?P<json>\{.*)$"
"""Treasure Data's rule also wants the closing brace; a line that breaks off before it is a dead letter."""
_TAGGED = r"^\s*@\[[^\s\]]+\] \{"
_METRIC = r"(^|\s)(sample|measure|count)#\S"
_LOGFMT = (
    r'^[A-Za-z_][\w.\-]*=("([^"\\]|\\.)*"|[^\s"=]*)'
    r'(\s+[A-Za-z_][\w.\-]*(=("([^"\\]|\\.)*"|[^\s"=]*))?)*\s*$'
)


def decode_logplex(
    records: Sequence[Record], segment: int, limits: IngestLimits, out: Decoded, *, first: int = 0
) -> None:
    """Add the rows and dead letters of a segment's logplex records, numbered from ``first``."""
    accounts: defaultdict[int, list[Record]] = defaultdict(list)
    for record in records:
        accounts[record.batch.account_id].append(record)
    base = (segment << SEQUENCE_BITS) + first
    for account, own in accounts.items():
        base += LogLines(account, own, base, limits, out).decode()


def origin_of_lines(record: Record) -> Origin:
    """Return where the lines of a record come from, for their dead letters."""
    batch = record.batch
    return Origin(f"{batch.kind}:{batch.meta.get('drain', '')}", record.batch_id, int(batch.received_at))


@dataclass(slots=True)
class LogLines:
    """The log lines of one account in one segment."""

    account: int
    records: Sequence[Record]
    base: int
    limits: IngestLimits
    out: Decoded

    def decode(self) -> int:
        """Add everything; return how many sequence numbers were used."""
        columns = parse_bodies([record.batch.body for record in self.records])
        for bad in columns.bad:
            self.out.add_dead(self.account, origin_of_lines(self.records[bad.body]), bad.reason, bad.data)
        if len(columns.frame):
            self.route(self._rows(columns))
        return columns.frames + 1

    def _rows(self, columns: LogColumns) -> pa.Table:
        """Return the sender's columns and the message of every line, and ``body``, the record's index."""
        micros = stamps_us(columns.stamp, columns.body, self.records)
        body = pa.array(columns.body)

        def meta(key: str) -> pa.Array:
            values = pa.array([record.batch.meta.get(key) for record in self.records], pa.string())
            return values.take(body)

        return pa.table(
            {
                "time": whole_seconds(micros),
                "app": meta("app"),
                "source": as_text(columns.source),
                "process": as_text(columns.process),
                "severity": pa.array(SEVERITIES).take(pa.array(columns.pri & 7)),
                "timestamp_us": micros,
                "drain": meta("drain"),
                "seq": pa.array(self.base + columns.frame),
                "message": as_text(columns.message),
                "body": body,
            }
        )

    def route(self, rows: pa.Table) -> None:
        """Send every line to exactly one place."""
        # Syslog senders may leave both out.
        heroku = pc.fill_null(pc.equal(rows["source"], "heroku"), False)
        router = pc.and_(heroku, pc.fill_null(pc.equal(rows["process"], "router"), False))
        tagged = pc.and_(pc.invert(heroku), pc.match_substring_regex(rows["message"], _TAGGED))
        events = self._events(rows, tagged) if pc.any(tagged).as_py() else tagged
        hashed = pa.chunked_array([pa.array(_with_byte(rows["message"], "#"))])
        metrics = (
            pc.and_(pc.match_substring_regex(rows["message"], _METRIC), pc.invert(events))
            if pc.any(hashed).as_py()
            else hashed
        )
        metrics = self._metrics(rows, pc.and_(metrics, pc.invert(router)))
        taken = pc.or_(events, metrics)
        if pc.any(heroku).as_py():
            # A router's line says itself for which host it was asked.
            plain = rows.drop_columns(["host"]) if "host" in rows.column_names else rows
            self._add("router", router_table(plain.filter(router)))
            self._add("dyno", _by_line(rows.filter(pc.and_not(pc.and_not(heroku, router), taken)), "dyno"))
        rest = pc.and_not(pc.invert(heroku), taken)
        self._app(rows if pc.all(rest).as_py() else rows.filter(rest))

    def _add(self, table: str, rows: pa.Table) -> None:
        names = dict.fromkeys(["time", *(name for name, _ in (*LOG_TABLES[table], *SYSLOG_FIELDS))])
        kept = [name for name in names if name in rows.column_names]
        self.out.add_table(TableRef(self.account, LOGS_DATABASE, table), rows.select(kept))

    # Event lines
    # ------------------------------------------------------------------------------------------------

    def _events(self, rows: pa.Table, tagged: pa.ChunkedArray) -> pa.ChunkedArray:
        """Add the lines ``@[db.table] {json}``; return which lines were taken."""
        picks = pc.indices_nonzero(tagged)
        lines = rows.select(["message", "body"]).take(picks)
        found = pc.extract_regex(lines["message"], _EVENT).combine_chunks()
        tags = pc.dictionary_encode(found.field("tag"))
        taken = np.zeros(rows.num_rows, bool)
        for code, tag in enumerate(tags.dictionary.to_pylist()):
            target = split_tag(tag)
            if target is None:
                continue
            mine = pc.equal(tags.indices, code).fill_null(False)
            taken[picks.to_numpy()[mine.to_numpy(zero_copy_only=False)]] = True
            self._add_events(
                TableRef(self.account, *target), found.field("json").filter(mine), lines["body"].filter(mine)
            )
        return pa.chunked_array([pa.array(taken)])

    def _add_events(self, ref: TableRef, texts: pa.Array, body: pa.ChunkedArray) -> None:
        owners = body.to_numpy()
        edges = np.concatenate([[0], np.flatnonzero(np.diff(owners)) + 1, [len(owners)]]).tolist()
        moments: dict[int, Any] = {}
        clean = self._all_clean(texts)
        for first, last in itertools.pairwise(edges):
            origin = moments.setdefault(int(owners[first]), origin_of_lines(self.records[int(owners[first])]))
            chunk = texts.slice(first, last - first)
            self.out.add_lines(ref, chunk if clean else self._good(ref, chunk, origin), origin, create=True)

    def _all_clean(self, texts: pa.Array) -> bool:
        longest = pc.max(pc.binary_length(texts)).as_py() or 0
        if longest > self.limits.record_bytes:
            return False
        body = _lines_of(texts)
        return is_clean(body, as_array(body))

    def _good(self, ref: TableRef, texts: pa.Array, origin: Origin) -> pa.Array:
        """Return the lines that are JSON objects; the others become dead letters."""
        good = []
        for text in texts.to_pylist():
            line = text.encode()
            fault = "record_too_long" if len(line) > self.limits.record_bytes else line_fault(line)
            if fault is None:
                good.append(text)
            else:
                self.out.add_dead(self.account, origin, fault, line, ref=ref)
        return pa.array(good, pa.string())

    # Other lines
    # ------------------------------------------------------------------------------------------------

    def _metrics(self, rows: pa.Table, candidates: pa.ChunkedArray) -> pa.ChunkedArray:
        """Add a row per measurement of the lines that have any; return which lines were taken."""
        picks = pc.indices_nonzero(candidates).to_numpy()
        taken = np.zeros(rows.num_rows, bool)
        sources: list[int] = []
        found: list[dict[str, Any]] = []
        for index, text in zip(
            picks.tolist(), rows["message"].take(pa.array(picks)).to_pylist(), strict=True
        ):
            values = list(log_lines.metrics(text))
            taken[index] = bool(values)
            sources += [index] * len(values)
            found += values
        if found:
            table = rows.take(pa.array(sources))
            self._add("metrics", _with_fields(table.drop_columns(["message", "body"]), found, METRIC_FIELDS))
        return pa.chunked_array([pa.array(taken)])

    def _app(self, rows: pa.Table) -> None:
        if rows.num_rows:
            self._add("app", rows.append_column("data", _parsed(rows["message"])))


def _lines_of(texts: pa.Array) -> bytes:
    """Return the texts, none of which has a newline, as one body of lines."""
    joined = pc.binary_join_element_wise(texts, "", "\n")
    whole = joined if isinstance(joined, pa.Array) else joined.combine_chunks()
    offsets = np.frombuffer(whole.buffers()[1], np.int32)
    return bytes(memoryview(whole.buffers()[2])[offsets[whole.offset] : offsets[whole.offset + len(whole)]])


def _with_byte(texts: pa.ChunkedArray, byte: str) -> Flags:
    """Tell which texts have an ASCII character in them; several times faster than a substring match."""
    flags = [np.zeros(0, bool)]
    for chunk in texts.chunks:
        offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        found = np.zeros(len(chunk), bool)
        if len(chunk) and chunk.buffers()[2] is not None:
            data = np.frombuffer(chunk.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
            places = np.flatnonzero(data == ord(byte)) + offsets[0]
            found[np.searchsorted(offsets, places, side="right") - 1] = True
        flags.append(found)
    return np.concatenate(flags)


def as_text(column: pa.Array) -> pa.Array:
    """Return bytes as text; where they are no UTF-8, the bad bytes are spelled out in hex."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array(
            [value.decode("utf-8", "backslashreplace") for value in column.to_pylist()], pa.string()
        )


def stamps_us(
    stamps: pa.Array, body: np.ndarray[Any, np.dtype[np.int64]], records: Sequence[Record]
) -> pa.Array:
    """Return Unix microseconds; the receipt time for lines without a valid time stamp."""
    try:
        return stamps.cast(pa.string()).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    except pa.ArrowInvalid:
        return pa.array(
            [
                _stamp(raw, records[index].batch.received_at)
                for raw, index in zip(stamps.to_pylist(), body.tolist(), strict=True)
            ],
            pa.int64(),
        )


def whole_seconds(micros: pa.Array) -> pa.Array:
    """Return Unix seconds, rounded down; exact for any year, which a way over doubles is not."""
    return pa.array(np.floor_divide(micros.to_numpy(), 1_000_000))


def _stamp(raw: bytes, received_at: float) -> int:
    try:
        micros = syslog.parse_timestamp(raw)
    except syslog.SyslogError:
        micros = None
    return int(received_at * 1_000_000) if micros is None else micros


def _with_fields(
    rows: pa.Table, found: Sequence[dict[str, Any]], fields: Sequence[tuple[str, str]]
) -> pa.Table:
    for name, kind in fields:
        column = pa.array([values.get(name) for values in found], ARROW_TYPES[kind])
        rows = rows.append_column(name, column)
    return rows


def _by_line(rows: pa.Table, table: str) -> pa.Table:
    parse, fields = {"dyno": (log_lines.dyno_fields, DYNO_FIELDS)}[table]
    found = [parse(text) for text in rows["message"].to_pylist()]
    return _with_fields(rows.drop_columns(["message", "body"]), found, fields)


def _parsed(messages: pa.ChunkedArray) -> pa.Array:
    """Return the JSON text of the lines that are a JSON object or logfmt, null for the others."""
    data: np.ndarray[Any, np.dtype[np.object_]] = np.full(len(messages), None, object)
    objects = pc.starts_with(messages, "{")
    if pc.any(objects).as_py():
        picks = pc.indices_nonzero(objects).to_numpy()
        for index, text in zip(picks.tolist(), messages.take(pa.array(picks)).to_pylist(), strict=True):
            if line_fault(text.encode()) is None:
                data[index] = text
    picks = np.flatnonzero(_with_byte(messages, "="))
    if len(picks):
        picks = picks[~objects.take(pa.array(picks)).to_numpy().astype(bool)]
        some = messages.take(pa.array(picks))
        for index, text in _matching(picks, some):
            found = log_lines.parse_logfmt(text)
            data[index] = None if found is None else log_lines.json_text(found)
    return pa.array(data, pa.string())


def _matching(picks: np.ndarray[Any, np.dtype[np.uint64]], texts: pa.ChunkedArray) -> list[tuple[int, str]]:
    mask = pc.match_substring_regex(texts, _LOGFMT)
    chosen = picks[mask.to_numpy().astype(bool)]
    return list(zip(chosen.tolist(), texts.filter(mask).to_pylist(), strict=True))
