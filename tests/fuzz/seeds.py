"""The first inputs of each target: well-formed ones, from which a fuzzer finds its way to the others."""

from __future__ import annotations

import gzip
import io
import json

import msgpack
import pyarrow as pa
import pyarrow.parquet as pq

from addon.ingest.frames import encode_header
from addon.ingest.record import Record, encode
from addon.models.ingest import Batch, BodyKind
from tests.fuzz.targets import KEY
from tests.scan_hostile import PLAIN

_LINE = b"<190>1 2026-11-25T13:00:00.123456+00:00 host app web.1 - "
_FRAME = _LINE + b'@[shop.events] {"a":1}\n'
_ROUTER = (
    b"<158>1 2026-11-25T13:00:00.1+00:00 host heroku router - "
    b'at=info method=GET path="/x?a=1" host=a.b status=200 bytes=13\n'
)
_BATCH = Batch(BodyKind.NDJSON, 7, "shop", "events", b'{"a":1}\n', 1.7e9, "id", {"app": "a"})
_ROW = {"time": 1_700_000_000, "a": [1, {"b": None}], "ü": "x", "f": 1.5, "t": True}


def _framed(*frames: bytes) -> bytes:
    return b"".join(b"%d %b" % (len(frame), frame) for frame in frames)


def _parquet(columns: dict[str, list[object]], codec: str) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, compression=codec)
    return file.getvalue()


SEEDS: dict[str, list[bytes]] = {
    "octet_frames": [_framed(b"one", b"three"), b"0 x", b"99999999 x", b"5 abc", b" 3 abc"],
    "syslog_stream": [
        _framed(b"<13>a", b"<13>bc"),
        b"<13>a\n<13>b\n5 <13>c<13>d\n",
        b"<13>a\0<13>b\0",
        b"\n\n",
    ],
    "rfc5424": [
        _LINE + b"hello",
        b'<165>1 - - - - - [a@1 b="c\\]" d="\xef\xbb\xbf"] \xef\xbb\xbfx',
        b"<999>1 ",
    ],
    "bsd_messages": [
        b"<34>Oct 11 22:14:15 host su[23]: failed",
        b"<34>2026-11-25T13:00:00Z h t: x",
        b"no pri",
    ],
    "logplex_bodies": [_framed(_FRAME, _ROUTER), _framed(_FRAME)[:-3], _framed(_LINE + b"a=1 b", b"<1>x")],
    "logfmt_lines": [b'at=info path="/a b" empty= flag x="\\"q\\n"', b"=", b'a="', b"a=b=c"],
    "msgpack_rows": [
        msgpack.packb(_ROW) * 2,
        msgpack.packb({1: 2, b"k": b"\xff", "n": float("nan")}),
        msgpack.packb({"t": msgpack.Timestamp(1, 2), "big": 2**64 - 1}),
        b"\x82\xa1a\x01\xa1a\x02",
        b"\xdf\xff\xff\xff\xff",
        b"\xc1",
    ],
    "ndjson": [
        json.dumps(_ROW).encode() + b'\n{"a":1}\r\n\n[1]\nx\n',
        b'{"a":1,"a":2}\n{"a":NaN}\n{"a":1e999}\n{"a":"\\ud800"}',
        b'{"a":"\\u0000"}\n{}\n {"b":[[[[]]]]}',
    ],
    "scan_lines": [
        b"\n".join(PLAIN),
        b'{"i":1,"i":2}\n {"d" : 1.5e-3 , "s" : "\\ud83d\\ude00"}\r\n{"j":[{"a":[]},{}],"b":true} ',
        b'{"d":0.30000000000000004,"j":[0.30000000000000004,123456789012345.6,1.50]}',
        b'{"time":-62135596800}\n{"time":-62135596801}\n{"i":9223372036854775808}\n{"d":9007199254740993}',
        b'{"s":"\xe6\x97\xa5\xf0\x9f\x98\x80","j":"\\u0000\\u2028"}\n{"s":"\xed\xa0\x80"}',
    ],
    "log_frames": [
        _framed(_FRAME, _ROUTER, b"odd", b"<0>1 - - - - - \n"),
        _framed(_FRAME)[:-3],
        b"05 hello",
        b"1048577 x",
        b"12345678 x",
    ],
    "gzip_bodies": [
        gzip.compress(b"x" * 100),
        gzip.compress(b"a") + gzip.compress(b"b"),
        gzip.compress(b"")[:-2],
    ],
    "wal_segments": [
        encode_header(KEY, 5, 0, b"abc") + b"abc",
        bytes(4096),
        encode_header(KEY, 5, 0, b"x")[:8] * 9,
    ],
    "wal_records": [b"".join(encode(Record(_BATCH, "0123456789abcdef", "", 8, clean=True))), b"\0\0\0\1\x90"],
    "td_params": [
        b'{"query":"select 1","priority":1,"x":[true,null]}',
        b"[" * 2000,
        b'{"a":"\\ud800"}',
        b"1",
    ],
    "procfiles": [
        b"web: python app.py\n# x\nworker: a b\n",
        b"\xef\xbb\xbfweb: a\r\n",
        b"web a",
        b"web: a\nweb: b",
    ],
    "names": [b"User ID", b"a/b~c", b'"; drop', b"_overflow", b"", "ÄÖ".encode(), b"time", b"a" * 300],
    "forward": [
        msgpack.packb(["shop.events", 1_700_000_000, _ROW, {"chunk": "c"}]),
        msgpack.packb(["shop.events", [[1_700_000_000, _ROW]], {"size": 1}]),
        msgpack.packb(["shop.events", msgpack.packb([msgpack.ExtType(0, b"\0" * 8), {"a": 1}])]),
        msgpack.packb(["a.b", gzip.compress(msgpack.packb([1, {}])), {"compressed": "gzip"}]),
    ],
    "collectors": [
        b'{"events":[{"a":1,"td_user_agent":"td_user_agent"},{}]}',
        b'{"a":"b","time":1}',
        b"eyJhIjoxfQ==",
        b'{"td_record_time":"1700000000","x":null,"y":[1,2]}',
    ],
    "csv_files": [
        b'\x00time,a,b\n1700000000,x,1\n1700000001,"y,""z\n",2.5\n',
        b"\x11time;a\r\n2026-11-25T13:00:00Z;\xc3\xbc\r\n",
        b"\x061,2,3\n4,5\n,,\n",
        b"\xef\xbb\xbfa,a\n1,2\n",
        b'a\n"never closed',
    ],
    "parquet_files": [
        _parquet({"time": [1_700_000_000, None], "a": ["x", "\u00fc\n"]}, "none"),
        _parquet({"a": [[1, 2], []], "b": [{"c": 1.5}, None]}, "snappy"),
        _parquet({"a": []}, "none"),
        b"PAR1PAR1",
    ],
    "delta_entries": [
        b'{"add":{"path":"a.parquet","size":1,"stats":"{\\"numRecords\\":1}"}}\n{"txn":{"appId":"w","version":1}}',
        b'{"remove":{"path":"a%20b"}}\n{"commitInfo":{}}',
    ],
}
