"""NDJSON that can stay as it is: told from any other at once, and looked at once only."""

from __future__ import annotations

import pytest

from addon.ingest.door import Admission, admit
from addon.ingest.files.options import FileFormat, FileOptions, TimeFormat
from addon.ingest.files.reading import clean_rows, read_file
from addon.ingest.json_lines import as_array
from addon.ingest.limits import IngestLimits
from addon.ingest.record import new_batch_id
from addon.models.ingest import Batch, BodyKind

LIMITS = IngestLimits()
NDJSON = FileOptions(FileFormat.NDJSON)


@pytest.mark.parametrize("body", [b'{"a":1}', b'{"a":1}\n', b'{"a":1}\n{"b":"\xc3\xa4"}\n'])
def test_a_clean_body_is_the_rows_that_a_close_look_finds(body: bytes) -> None:
    found = clean_rows(body, NDJSON, LIMITS)
    assert found is not None
    assert found == read_file(body, NDJSON, LIMITS)
    assert found.clean
    assert found.lines == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b' {"a":1}\n',
        b'{"a":1}\n\n{"b":2}\n',
        b'{"a":1}\n[2]\n',
        b'{"a":1}\n{"b":2\n',
        b'{"a":"\xff"}\n',
        b'{"a":"%b"}\n' % (b"x" * LIMITS.record_bytes),
    ],
)
def test_any_other_body_gets_a_close_look(body: bytes) -> None:
    assert clean_rows(body, NDJSON, LIMITS) is None


@pytest.mark.parametrize(
    "options",
    [
        FileOptions(FileFormat.CSV),
        FileOptions(FileFormat.NDJSON, time_column="at"),
        FileOptions(FileFormat.NDJSON, time_format=TimeFormat.UNIX_MS),
    ],
)
def test_a_body_that_is_to_be_changed_gets_a_close_look(options: FileOptions) -> None:
    assert clean_rows(b'{"a":1}\n', options, LIMITS) is None


def test_a_body_that_was_looked_at_is_admitted_by_its_size() -> None:
    batch = Batch(BodyKind.NDJSON, 1, "shop", "events", b'{"a":1}\n', 0.0, clean=True)
    assert admit(batch, LIMITS) == Admission(8, clean=True)


def test_batch_ids_are_sixteen_hex_digits_and_never_repeat() -> None:
    ids = [new_batch_id() for _ in range(2_000)]
    assert len(set(ids)) == len(ids)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


@pytest.mark.parametrize("length", [1, 7, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_lines_are_cut_at_every_newline_however_the_body_is_searched(length: int) -> None:
    body = (b"x" * (length - 1) + b"\n") * 2 + b"\n{}\n"
    assert as_array(body).to_pylist() == [line.decode() for line in body.splitlines(keepends=True)]
