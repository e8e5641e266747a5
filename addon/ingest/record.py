"""A WAL payload: a compact header that says what a batch is, then its raw body, untouched."""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass

import msgspec

from addon.models.ingest import Batch, BodyKind

_LENGTH = struct.Struct(">I")
_VERSION = 1


class _Header(msgspec.Struct, array_like=True, frozen=True):
    """The header's fields in their order on disk; new ones are added at the end with a default."""

    version: int
    kind: str
    account: int
    database: str
    table: str
    upload_id: str | None
    received_at: float
    meta: dict[str, str]
    batch_id: str
    digest: str
    weight: int
    clean: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A batch as the log keeps it."""

    batch: Batch
    batch_id: str
    """16 hex digits; the same on a rewrite after a failed fsync, so that no copy counts twice."""
    digest: str
    """SHA-256 of the body where there is an upload id, else empty."""
    weight: int
    """Bytes after decompression: what decoding will cost."""
    clean: bool
    """The door found every line good (NDJSON), so the flush need not look again."""


_ID_BYTES, _IDS_AT_ONCE = 8, 512
_ids: list[str] = []


def new_batch_id() -> str:
    """Return 16 random hex digits.

    Taken from the system many at a time: a system call lets other threads have the interpreter, which a busy
    event loop has to wait for again.
    """
    try:
        return _ids.pop()
    except IndexError:
        digits = secrets.token_hex(_ID_BYTES * _IDS_AT_ONCE)
        width = 2 * _ID_BYTES
        _ids.extend(digits[at : at + width] for at in range(width, len(digits), width))
        return digits[:width]


def encode(record: Record) -> tuple[bytes, bytes]:
    """Return the payload in two parts: length and header, and the body as it came."""
    batch = record.batch
    header = msgspec.msgpack.encode(
        _Header(
            _VERSION,
            str(batch.kind),
            batch.account_id,
            batch.database,
            batch.table,
            batch.upload_id,
            batch.received_at,
            dict(batch.meta),
            record.batch_id,
            record.digest,
            record.weight,
            record.clean,
        )
    )
    return _LENGTH.pack(len(header)) + header, batch.body


def decode(payload: bytes) -> Record:
    """Read a payload.

    Raises:
        ValueError: it is not a payload of a version this program knows.
    """
    if len(payload) < _LENGTH.size:
        raise ValueError("the payload is shorter than its length field")
    (length,) = _LENGTH.unpack_from(payload)
    body = _LENGTH.size + length
    if body > len(payload):
        raise ValueError("the payload's header runs over its end")
    header = msgspec.msgpack.decode(payload[_LENGTH.size : body], type=_Header)
    if header.version != _VERSION:
        raise ValueError(f"payload version {header.version} is not {_VERSION}")
    batch = Batch(
        kind=BodyKind(header.kind),
        account_id=header.account,
        database=header.database,
        table=header.table,
        body=payload[body:],
        received_at=header.received_at,
        upload_id=header.upload_id,
        meta=header.meta,
    )
    return Record(batch, header.batch_id, header.digest, header.weight, header.clean)
