"""Every parser of foreign bytes, as a function of bytes that must hold some truth about what it returns.

A target lets its parser raise what it says it raises; anything else, a broken truth, or too long a time is
a finding. ``TARGETS`` names them; the kept corpus is in ``corpus/<name>/``.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from addon.api.collectors.records import (
    ServerColumns,
    event_lines,
    postback_line,
    record_line,
    text_from_base64,
)
from addon.api.td.params import json_object
from addon.ingest.decode import decode_records
from addon.ingest.decode_msgpack import boundaries
from addon.ingest.door import admit
from addon.ingest.files.options import FileFormat, FileOptions, TimeFormat
from addon.ingest.files.reading import read_file
from addon.ingest.frames import encode_header, scan
from addon.ingest.inflate import inflate
from addon.ingest.json_lines import check
from addon.ingest.limits import IngestLimits
from addon.ingest.record import Record, decode, encode
from addon.models.ingest import Batch, BodyKind
from addon.receivers.forward_codec import ForwardError, ForwardStream, read_message
from addon.upkeep.delta_replay import BrokenLogError, LogVersion, _act, _entry_rows
from addon.warehouse.names import column_name, identifier, json_pointer, literal
from addon.warehouse.scan.library import kernel
from jobs.native.compiler import compiler
from platform_core.base.errors import UserError
from platform_core.build.procfile import parse_procfile
from platform_core.wire import bsd, logfmt, logplex, octets, syslog
from platform_core.wire.syslog_stream import SyslogStream
from tests.scan_hostile import framed, scanned
from tests.typing_oracle import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = IngestLimits(body_bytes=1 << 20, record_bytes=64 << 10)
FILE_LIMITS = IngestLimits(body_bytes=1 << 20, record_bytes=64 << 10, inflated_bytes=4 << 20)
KEY = 0x0BAD_5EED
_COLUMNS = ServerColumns(added={b"td_ip": b'"127.0.0.1"'})


def _chunks(data: bytes) -> list[bytes]:
    """Cut data at places that follow from itself."""
    step = 1 + (data[0] if data else 0) % 7
    return [data[start : start + step] for start in range(0, len(data), step)]


def octet_frames(data: bytes) -> None:
    """Chunks give the frames of the whole."""
    decoder = octets.OctetDecoder(max_frame=1_000)
    fed = [frame for chunk in _chunks(data) for frame in decoder.feed(chunk)]
    whole = octets.split_octets(data, max_frame=1_000)
    assert fed == list(whole.frames)
    assert (decoder.lost is None) == (whole.lost is None)


def syslog_stream(data: bytes) -> None:
    """No byte of a stream comes twice, and what is pending is bounded."""
    stream = SyslogStream(max_frame=1_000)
    frames = [frame for chunk in _chunks(data) for frame in stream.feed(chunk)]
    assert sum(map(len, frames)) <= len(data)
    frames.append(stream.finish())


def rfc5424(data: bytes) -> None:
    """A message's parts are parts of the frame."""
    for parse in (syslog.parse, syslog.parse_without_structured_data, logplex.parse_frame):
        try:
            message = parse(data)
        except (syslog.SyslogError, logplex.LogplexError):
            continue
        assert message.msg in data
        assert 0 <= message.severity < 8
        _ = message.timestamp_us
        try:
            _ = message.elements
        except syslog.SyslogError:
            continue


def bsd_messages(data: bytes) -> None:
    """Every message is taken, and is written as one that reads the same."""
    try:
        message = bsd.parse_message(data)
    except (syslog.SyslogError, ValueError):
        return
    assert isinstance(message.encode(), bytes)


def logplex_bodies(data: bytes) -> None:
    """A body is refused, or each of its frames is a row or a dead letter."""
    batch = Batch(BodyKind.LOGPLEX, 7, "", "", data, 1.7e9, None, {"app": "a", "drain": "d.1"})
    rows, dead = _decoded(batch)
    if rows is not None:
        body = logplex.decode_body(data)
        assert rows + dead >= len(body.frames) > 0 or dead


def logfmt_lines(data: bytes) -> None:
    """What was written is read back."""
    try:
        pairs = logfmt.parse(data.decode())
    except (UnicodeDecodeError, logfmt.LogfmtError):
        return
    try:
        text = logfmt.format_pairs(pairs)
    except logfmt.LogfmtError:  # keys are read more generously than they are written
        return
    if all(value is not None for value in pairs.values()):
        assert logfmt.parse(text) == pairs


def msgpack_rows(data: bytes) -> None:
    """Every map is a row or a dead letter."""
    try:
        rows = len(boundaries(data)) - 1
    except UserError:
        return
    batch = Batch(BodyKind.MSGPACK_GZ, 7, "shop", "events", gzip.compress(data, 1), 1.7e9)
    found, dead = _decoded(batch)
    assert found is None or found + dead == rows


def ndjson(data: bytes) -> None:
    """Every line that is not blank is good or bad, and the good ones are objects."""
    good, bad = check(data, LIMITS.record_bytes)
    lines = data.split(b"\n")
    filled = [line for line in lines if line.strip()]
    if len(filled) == len(lines):  # else a blank and a doubled one may cancel out, which the typing finds
        for text in good.to_pylist():
            assert isinstance(json.loads(text), dict)
    assert len(filled) <= len(good) + len(bad) <= len(lines)
    rows, dead = _decoded(Batch(BodyKind.NDJSON, 7, "shop", "events", data, 1.7e9))
    assert rows is None or len(filled) <= rows + dead <= len(lines)


def scan_lines(data: bytes) -> None:
    """What the compiled kernel takes is what the lines say, whatever lies around it."""
    compiled = kernel()
    if compiled is None:
        assert compiler() is None, "run: python -m addon.warehouse.scan"
        return
    scanned(compiled, data.splitlines(keepends=True), SCHEMA)
    scanned(compiled, [data], SCHEMA)


def log_frames(data: bytes) -> None:
    """The compiled kernel finds the messages that ``wire`` finds, or none where framing is lost."""
    compiled = kernel()
    if compiled is None:
        assert compiler() is None, "run: python -m addon.warehouse.scan"
        return
    framed(compiled, [data])
    framed(compiled, _chunks(data))


def gzip_bodies(data: bytes) -> None:
    """Inflating stays below its limits."""
    try:
        assert len(inflate(data, LIMITS)) <= LIMITS.inflated_bytes
    except UserError:
        return


def wal_segments(data: bytes) -> None:
    """A frame of ours is found among any bytes, and none is found that is not ours."""
    found = scan(data, KEY, 5)
    assert all(0 <= one.start < one.end <= len(data) for one in found.frames)
    header = encode_header(KEY, 5, 1 << 20, b"payload")
    whole = scan(data + header + b"payload", KEY, 5)
    assert len(whole.frames) == len(found.frames) + 1


def wal_records(data: bytes) -> None:
    """A payload is refused, or is written again as one that reads the same."""
    try:
        record = decode(data)
    except ValueError:
        return
    written = b"".join(encode(record))
    assert b"".join(encode(decode(written))) == written  # bytes, for a receipt time may be NaN


def td_params(data: bytes) -> None:
    """A JSON body is an object that can be stored."""
    try:
        json.dumps(json_object(data), ensure_ascii=False).encode()
    except UserError:
        return


def procfiles(data: bytes) -> None:
    """Process types are names, commands are one line."""
    try:
        commands = parse_procfile(data)
    except UserError:
        return
    assert all(name and "\n" not in command for name, command in commands.items())


def names(data: bytes) -> None:
    """Any key gets a name that needs no quotes, and quoting cannot be broken out of."""
    text = data.decode("utf-8", "replace")
    name = column_name(text, {"time"})
    assert name.replace("_", "a").isalnum()
    assert name == name.lower()
    assert name.isascii()
    assert json_pointer(text).count("/") == 1
    assert identifier(text)[1:-1].replace('""', "").count('"') == 0
    assert literal(text)[1:-1].replace("''", "").count("'") == 0


def forward(data: bytes) -> None:
    """Chunks give the messages of the whole; each is refused or read."""
    try:
        whole = ForwardStream(1 << 16).feed(data)
    except ForwardError:
        return
    stream = ForwardStream(1 << 16)
    assert [one for chunk in _chunks(data) for one in stream.feed(chunk)] == whole
    for message in whole:
        try:
            read_message(message, LIMITS)
        except ForwardError:
            continue


def collectors(data: bytes) -> None:
    """What a page sends is refused, or becomes lines of one object each."""
    for parse in (
        lambda: event_lines(data, _COLUMNS)[0],
        lambda: record_line(data, _COLUMNS),
        lambda: record_line(text_from_base64(data.decode("latin-1")), _COLUMNS),
        lambda: postback_line(data, 1.7e9),
    ):
        try:
            lines = parse()
        except UserError:
            continue
        for line in lines.splitlines():
            assert isinstance(json.loads(line, strict=False), dict)


def csv_files(data: bytes) -> None:
    """A file is refused, or each of its records is a row or a bad one, whatever is said about it."""
    _file_rows(data, FileOptions(FileFormat.CSV))
    choice = data[0] if data else 0
    options = FileOptions(
        FileFormat.CSV,
        delimiter=",;\t|"[choice % 4],
        columns=("time", "a", "") if choice & 4 else (),
        all_text=bool(choice & 8),
        text=frozenset({"a"}),
        time_column="a" if choice & 16 else None,
        time_format=list(TimeFormat)[choice % len(TimeFormat)],
        first_line=1 + choice,
    )
    _file_rows(data[1:], options)


def parquet_files(data: bytes) -> None:
    """A file is refused, or its rows are objects, also where its statistics and lengths lie."""
    for column in (None, "a"):
        _file_rows(data, FileOptions(FileFormat.PARQUET, time_column=column))


def _file_rows(data: bytes, options: FileOptions) -> None:
    try:
        found = read_file(data, options, FILE_LIMITS)
    except UserError:
        return
    lines = found.lines.split(b"\n")[:-1]
    assert len(lines) == found.rows > 0
    for line in lines:
        assert isinstance(json.loads(line), dict)
    _, dead = _decoded(Batch(BodyKind.NDJSON, 7, "shop", "events", found.lines, 1.7e9))
    assert dead == 0


def delta_entries(data: bytes) -> None:
    """A log entry is refused, or each of its actions is understood."""
    state = LogVersion()
    try:
        for row in _entry_rows("entry", data):
            _act(state, "entry", row)
    except BrokenLogError:
        return


def _decoded(batch: Batch) -> tuple[int | None, int]:
    """Return the rows and dead letters of a batch; None when the door refuses it."""
    try:
        admission = admit(batch, LIMITS)
    except UserError:
        return None, 0
    record = Record(batch, "0" * 16, "", admission.weight, admission.clean)
    decoded = decode_records([record], 5, LIMITS)
    rows = 0
    for found in decoded.tables.values():
        rows += sum(len(chunk.texts) for chunk in found.chunks) + sum(t.num_rows for t in found.tables)
    return rows, decoded.dead_total


TARGETS: dict[str, Callable[[bytes], Any]] = {
    target.__name__: target
    for target in (
        octet_frames,
        syslog_stream,
        rfc5424,
        bsd_messages,
        logplex_bodies,
        logfmt_lines,
        msgpack_rows,
        ndjson,
        scan_lines,
        log_frames,
        gzip_bodies,
        wal_segments,
        wal_records,
        td_params,
        procfiles,
        names,
        forward,
        collectors,
        csv_files,
        parquet_files,
        delta_entries,
    )
}
