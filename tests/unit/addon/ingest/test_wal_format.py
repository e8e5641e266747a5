"""The documented example of a frame is a frame, and a payload comes back as it went in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from addon.ingest.frames import scan
from addon.ingest.record import Record, decode, encode, new_batch_id
from addon.models.ingest import Batch, BodyKind

DOCUMENT = Path(__file__).parents[4] / "docs" / "formats" / "wal.md"


def test_the_documented_frame_reads_back() -> None:
    found = re.search(r"```\n([0-9a-f ]+)\n```", DOCUMENT.read_text())
    assert found is not None
    data = bytes.fromhex(found[1])
    (frame,) = scan(data, 1, 9).frames
    assert (frame.sequence, data[frame.start : frame.end]) == (0, b"hello")


def test_a_payload_comes_back_as_it_went_in() -> None:
    batch = Batch(BodyKind.LOGPLEX, 3, "", "", b"\x00body\xff", 12.5, "id", {"app": "a", "drain": "d"})
    record = Record(batch, new_batch_id(), "ab" * 32, 6, clean=False)
    assert decode(b"".join(encode(record))) == record


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\x09abc", b"\0\0\0\x01\xc1", b"\0\0\0\x02\x91\x63"])
def test_a_broken_payload_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(payload)
