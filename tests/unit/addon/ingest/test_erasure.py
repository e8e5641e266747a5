"""What was put aside of an account goes with the account, and nobody else's with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from addon.ingest.disk import LocalDisk
from addon.ingest.frames import encode_header, scan
from addon.ingest.quarantine import Quarantine
from addon.ingest.record import Record, decode, encode
from addon.ingest.segments import Segment
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef

if TYPE_CHECKING:
    from pathlib import Path

KEY = 0x5EED


def record(account_id: int, text: str) -> Record:
    batch = Batch(BodyKind.NDJSON, account_id, "shop", "events", text.encode(), 1000.5)
    return Record(batch, f"{account_id:016x}", "", len(text), clean=True)


def segment(folder: Path, number: int, *records: Record, tail: bytes = b"") -> Segment:
    path = folder / f"{number:020d}.wal"
    parts = [encode(one) for one in records]
    frames = [encode_header(KEY, number, index, *part) + b"".join(part) for index, part in enumerate(parts)]
    path.write_bytes(b"".join(frames) + tail)
    return Segment(number, path)


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine", LocalDisk())


def left(quarantine: Quarantine) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(quarantine.folder.iterdir()))


def test_without_a_quarantine_there_is_nothing_to_erase(quarantine: Quarantine) -> None:
    assert quarantine.erase(1, KEY) == 0


def test_an_accounts_batches_and_rows_are_deleted_and_others_stay(quarantine: Quarantine) -> None:
    for account_id in (1, 11):
        quarantine.keep_batch(record(account_id, f"batch of {account_id}."), 5)
        rows = pa.table({"a": [f"row of {account_id}."]})
        quarantine.keep_rows(TableRef(account_id, "shop", "events"), rows, 5)
    assert quarantine.erase(1, KEY) == 2
    assert sorted(path.suffix for path in quarantine.folder.iterdir()) == [".batch", ".parquet"]
    assert b"of 1." not in left(quarantine)
    assert b"batch of 11." in left(quarantine)
    assert quarantine.erase(1, KEY) == 0


def test_an_accounts_part_of_a_segment_is_overwritten(quarantine: Quarantine, tmp_path: Path) -> None:
    mixed = [
        record(1, "mine, 1st"),
        record(2, "theirs, 1st"),
        record(1, "mine, 2nd"),
        record(2, "theirs, 2nd"),
    ]
    quarantine.keep_segment(segment(tmp_path, 7, *mixed, tail=b"mine, torn"))
    quarantine.keep_segment(segment(tmp_path, 8, record(2, "theirs, 3rd")))
    quarantine.keep_segment(segment(tmp_path, 9, record(1, "mine alone")))
    assert quarantine.erase(1, KEY) == 2
    assert b"mine" not in left(quarantine)
    first, second = sorted(quarantine.folder.iterdir())
    data = first.read_bytes()
    kept = [decode(data[one.start : one.end]).batch.body for one in scan(data, KEY, 7).frames]
    assert kept == [b"theirs, 1st", b"theirs, 2nd"]
    assert b"theirs, 3rd" in second.read_bytes()


def test_what_cannot_be_read_beside_an_accounts_batches_goes_too(
    quarantine: Quarantine, tmp_path: Path
) -> None:
    rotten = segment(tmp_path, 7, record(1, "mine, good"), record(1, "mine, rotten"), record(2, "theirs"))
    damaged = rotten.path.read_bytes().replace(b"rotten", b"rotteN")
    rotten.path.write_bytes(damaged)
    quarantine.keep_segment(rotten)
    quarantine.keep_segment(segment(tmp_path, 8, tail=b"nobody knows whose"))
    assert quarantine.erase(1, KEY) == 1
    assert b"mine" not in left(quarantine)
    assert b"theirs" in left(quarantine)
    assert b"nobody knows whose" in left(quarantine)
