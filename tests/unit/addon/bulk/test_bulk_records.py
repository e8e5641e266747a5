"""Parts and records: what is a row, what is an error record, what is refused at the door."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.bulk import blocks as reading
from addon.bulk.blocks import Block, blocks, count_objects
from addon.bulk.errors import with_reason
from addon.bulk.records import BadRecord, decode
from addon.store.table_moves import TableMoves
from platform_core.base.errors import InvalidInput, TooLarge
from tests.faults.bulk_rig import NOW, packed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.bulk_rig import BulkRig


def block_of(*objects: bytes) -> Block:
    ends = np.cumsum([0, *map(len, objects)])
    return Block(b"".join(objects), ends.astype(np.int64), 1)


# The door


def test_a_part_is_read_whatever_its_members_and_pieces_are(tmp_path: Path) -> None:
    rows = [{"time": NOW, "text": "x" * (n % 5000)} for n in range(2000)]
    path = tmp_path / "part"
    path.write_bytes(packed(rows[:700]) + packed(rows[700:]))
    found = list(blocks(path))
    assert len(found) > 1
    assert [msgpack.unpackb(one.object(n)) for one in found for n in range(len(one))] == rows
    assert [one.first for one in found] == [1 + sum(map(len, found[:n])) for n in range(len(found))]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"plain", "not valid gzip"),
        (packed([{"time": NOW}])[:-5], "cut short"),
        (gzip.compress(msgpack.packb({"time": NOW}) + b"\x82\xa1a", mtime=0), "Record 2 is cut short"),
        (gzip.compress(msgpack.packb({"time": NOW}) + b"\xc1", mtime=0), "Record 2 is not valid msgpack"),
        (packed([{"time": NOW}]) + b"tail", "not valid gzip"),
    ],
)
def test_a_broken_part_is_refused_while_its_sender_can_mend_it(
    rig: BulkRig, body: bytes, reason: str
) -> None:
    rig.create()
    with pytest.raises(InvalidInput, match=reason):
        rig.upload("p", body)
    assert rig.store.parts(rig.session().id) == []
    assert rig.kept_files() == []


def test_a_part_over_the_limits_is_refused(rig: BulkRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.create()
    monkeypatch.setattr(reading, "MAX_INFLATED", 1000)
    with pytest.raises(TooLarge, match="decompresses"):
        rig.upload("p", [{"time": NOW, "text": "x" * 2000}])
    monkeypatch.undo()
    monkeypatch.setattr(reading, "MAX_OBJECT", 1000)
    monkeypatch.setattr(reading, "_INFLATE", 512)
    with pytest.raises(TooLarge, match="Record 1 has more"):
        rig.upload("p", [{"time": NOW, "text": "x" * 2000}])


def test_the_memory_for_a_part_does_not_grow_with_it(tmp_path: Path) -> None:
    """128 MiB after decompression, 200 KiB as it comes."""
    path = tmp_path / "part"
    row = msgpack.packb({"time": NOW, "text": "x" * 1000})
    path.write_bytes(gzip.compress(row * (128 * 1024), 1))
    longest = max(len(one.data) for one in blocks(path))
    assert longest <= (1 << 20) + len(row)
    assert count_objects(path) == 128 * 1024


# Records


def test_a_record_needs_a_whole_number_as_its_time(rig: BulkRig) -> None:
    bad: list[dict[str, Any]] = [
        {},
        {"time": None},
        {"time": 1.0},
        {"time": "1764000000"},
        {"time": True},
        {"time": 10**15},
        {"time": -(10**13)},
    ]
    good = [{"time": 0}, {"time": NOW, "a": None}, {"time": -1}]
    rig.create()
    rig.upload("p", [*good, *bad])
    rig.freeze()
    assert rig.perform().num_records == 3
    assert [one["_record"] for one in rig.error_records()] == [4, 5, 6, 7, 8, 9, 10]
    assert [one["_error"] for one in rig.error_records()] == [
        "time_is_missing",
        "time_is_missing",
        "time_is_not_an_integer",
        "time_is_not_an_integer",
        "time_is_not_an_integer",
        "time_is_out_of_range",
        "time_is_out_of_range",
    ]
    assert rig.error_records()[3] == {
        "time": "1764000000",
        "_error": "time_is_not_an_integer",
        "_part": "p",
        "_record": 7,
    }
    rig.commit()
    assert [row[0] for row in rig.rows("time")] == [-1, 0, NOW]


@pytest.mark.parametrize("ruby", [False, True])
def test_text_may_come_as_bin_as_ruby_sends_it(rig: BulkRig, *, ruby: bool) -> None:
    rows: list[dict[Any, Any]] = [{"time": NOW, "name": "caf\u00e9", "n": 5, "": 3}]
    if ruby:
        rows = [{b"time": NOW, b"name": "caf\u00e9".encode(), b"n": 5, b"": 3}]
    rig.create()
    rig.upload("p", rows)
    rig.freeze()
    rig.perform()
    rig.commit()
    assert rig.rows("time, name, n") == [(NOW, "caf\u00e9", 5)]
    assert rig.rows() == [(NOW, "caf\u00e9", 5)], "the column without a name is dropped"


def test_what_json_cannot_say_is_an_error_record_with_its_bytes() -> None:
    odd = [
        msgpack.packb([1, 2]),
        msgpack.packb(7),
        msgpack.packb({"time": NOW, "x": msgpack.ExtType(5, b"z")}),
        msgpack.packb({"time": NOW, 5: "key"}),
        msgpack.packb({b"time": NOW, b"x": b"\xff\xfe"}),
        msgpack.packb({"time": NOW, "x": "y" * (1 << 20)}),
    ]
    found = decode(block_of(msgpack.packb({"time": NOW}), *odd))
    assert found.places == [0]
    assert [(one.number, one.reason) for one in found.bad] == [
        (2, "record_is_not_a_map"),
        (3, "record_is_not_a_map"),
        (4, "extension_type_5"),
        (5, "key_is_not_text"),
        (6, "not_utf8"),
        (7, "record_too_long"),
    ]
    for one in found.bad:
        kept = msgpack.unpackb(with_reason("p", one), raw=False)
        assert kept["_record"] == one.number
        if "_raw" in kept:
            assert kept["_raw"] == one.data


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        max_size=40,
    )
)
def test_an_error_record_is_the_record_and_three_members_more(row: dict[str, Any]) -> None:
    kept = msgpack.unpackb(with_reason("part", BadRecord(msgpack.packb(row), 9, "why")), raw=False)
    assert kept == {**row, "_error": "why", "_part": "part", "_record": 9}


def test_nan_and_infinity_are_what_a_streaming_import_makes_of_them(rig: BulkRig) -> None:
    rig.create()
    rig.upload("p", [{"time": NOW, "a": float("nan"), "b": 1.5}, {"time": NOW, "a": 2.5, "b": None}])
    rig.freeze()
    rig.perform()
    rig.commit()
    assert rig.rows("a, b") == [(2.5, None), (None, 1.5)]


# Types


def test_columns_are_typed_as_in_a_streaming_import(rig: BulkRig) -> None:
    rig.create()
    first = [{"time": NOW, "n": 1, "d": 0.5, "t": "x", "b": True, "a": [1], "o": {"k": 1}}]
    later = [{"time": NOW + 1, "n": 2.0, "d": 3, "t": 5, "B": "twin", "new": "y"}]
    rig.upload("1", first)
    rig.upload("2", later)
    rig.freeze()
    rig.perform()
    rig.commit()
    assert [(column.name, column.type) for column in rig.catalog.table(rig.ref).detected] == [
        ("time", "long"),
        ("n", "double"),
        ("d", "double"),
        ("t", "string"),
        ("b", "boolean"),
        ("a", "json"),
        ("o", "json"),
        ("new", "string"),
    ]
    assert rig.rows("time, n, d, t, b, a, new") == [
        (NOW, 1.0, 0.5, "x", True, "[1]", None),
        (NOW + 1, 2.0, 3.0, "5", None, None, "y"),
    ]


def test_more_columns_than_a_table_holds_are_kept_with_their_rows_and_the_job_says_so(rig: BulkRig) -> None:
    rig.create()
    rig.upload("p", [{"time": NOW, **{f"c{n:04d}": n for n in range(600)}}, {"time": NOW}])
    rig.freeze()
    outcome = rig.perform()
    assert "1 records hold values that are in no column" in outcome.cmdout
    assert "512 columns" in outcome.cmdout
    rig.commit()
    assert len(rig.catalog.table(rig.ref).detected) == 512


def test_a_type_that_a_streaming_import_set_meanwhile_holds(rig: BulkRig) -> None:
    """What was performed is typed anew at the commit, and its text is not forced into a long column."""
    rig.create()
    rig.upload("p", [{"time": NOW, "x": "text"}, {"time": NOW, "x": "5"}, {"x": "bad"}])
    rig.freeze()
    rig.perform()
    before = rig.session().performed
    rig.import_lines(pa.array(['{"x":1}']), pa.array([NOW]), 1)
    rig.commit()
    assert [(column.name, column.type) for column in rig.catalog.table(rig.ref).detected][1] == ("x", "long")
    assert rig.rows("x") == [(1,), (None,), (None,)]
    after = rig.session().performed
    assert before is not None
    assert after is not None
    assert after.errors_file == before.errors_file
    assert len(rig.error_records()) == 1


def test_files_that_waited_too_long_are_written_again(rig: BulkRig) -> None:
    rig.create()
    rig.upload("p", [{"time": NOW, "x": 1}])
    rig.freeze()
    rig.perform()
    performed = rig.session().performed
    assert performed is not None
    (file,) = performed.files
    (rig.warehouse.folder(rig.ref) / file.name).unlink()  # as the sweep does after some hours
    rig.clock.advance(6 * 3_600)
    rig.commit()
    assert rig.rows("x") == [(1,)]


def test_a_commit_never_names_a_file_that_is_not_there(rig: BulkRig) -> None:
    """As after a restore: the session is as it was, what nothing named yet was not in the backup."""
    rig.create()
    rig.upload("p", [{"time": NOW, "x": 1}])
    rig.freeze()
    rig.perform()
    performed = rig.session().performed
    assert performed is not None
    (rig.warehouse.folder(rig.ref) / performed.files[0].name).unlink()
    rig.commit()
    assert rig.rows("x") == [(1,)]


def test_a_table_that_was_dropped_and_made_again_gets_the_rows(rig: BulkRig) -> None:
    rig.create()
    rig.upload("p", [{"time": NOW, "x": 1}])
    rig.freeze()
    rig.perform()
    rig.catalog.delete_table(rig.ref)
    rig.warehouse.drop(rig.ref)
    with pytest.raises(Exception, match="does not exist"):
        rig.commit()
    assert rig.session().state.value == "ready"
    rig.catalog.create_table(rig.ref)
    rig.commit()
    assert rig.rows("x") == [(1,)]


def test_a_part_that_rotted_on_the_disk_fails_the_perform_and_says_which(rig: BulkRig) -> None:
    rig.create()
    rig.upload("good", [{"time": NOW, "x": 1}])
    rig.upload("rotten", [{"time": NOW, "x": n} for n in range(500)])
    (part,) = [one for one in rig.store.parts(rig.session().id) if one.name == "rotten"]
    with rig.bulk.files.reading(rig.session(), [part.file]) as (path,):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
    rig.freeze()
    outcome = rig.perform()
    assert outcome.state.value == "error"
    assert "'rotten' cannot be read" in outcome.stderr
    session = rig.session()
    assert (session.state.value, session.error_parts) == ("uploading", 1)
    assert rig.rows() == []


def test_a_part_whose_file_is_gone_fails_the_perform_and_says_which(rig: BulkRig) -> None:
    """As after a restore from a backup that had the database only."""
    rig.create()
    rig.upload("p", [{"time": NOW, "x": 1}])
    (part,) = rig.store.parts(rig.session().id)
    rig.bulk.files.remove(rig.session(), [part.file])
    rig.freeze()
    outcome = rig.perform()
    assert "'p' cannot be read: " in outcome.stderr
    assert "is gone" in outcome.stderr
    rig.store.unfreeze(rig.account.id, "s")
    rig.upload("p", [{"time": NOW, "x": 1}])
    rig.freeze()
    assert rig.perform().num_records == 1


# Upkeep


def test_an_abandoned_session_goes_after_thirty_days_with_its_files(rig: BulkRig) -> None:
    rig.create()
    rig.upload("p", [{"time": NOW, "x": 1}])
    rig.clock.advance(29.9 * 86_400)
    rig.bulk.expire()
    assert len(rig.kept_files()) == 1
    rig.clock.advance(0.2 * 86_400)
    rig.bulk.expire()
    assert rig.kept_files() == []
    assert rig.store.sessions(rig.account.id) == []


def test_erasing_an_account_leaves_nothing_of_its_sessions(rig: BulkRig) -> None:
    rig.create()
    rig.upload("p", [{"time": NOW, "x": 1}, {}])
    rig.freeze()
    rig.perform()
    assert len(rig.kept_files()) == 2
    rig.bulk.erase(rig.account.id + 1)
    assert len(rig.kept_files()) == 2
    rig.bulk.erase(rig.account.id)
    assert rig.kept_files() == []
    assert rig.store.sessions(rig.account.id) == []


def test_a_commit_removes_the_parts_and_keeps_the_error_records(rig: BulkRig) -> None:
    rig.create()
    rig.upload("p", [{"time": NOW, "x": 1}, {}])
    rig.upload("p", [{"time": NOW, "x": 2}, {}])
    assert len(rig.kept_files()) == 1, "the part that was replaced is gone"
    rig.freeze()
    rig.perform()
    rig.commit()
    assert len(rig.kept_files()) == 1
    rig.clock.advance(7_200)
    rig.bulk.expire()
    assert [one["_error"] for one in rig.error_records()] == ["time_is_missing"]
    rig.bulk.delete(rig.account.id, "s")
    assert rig.kept_files() == []
    assert rig.rows("x") == [(2,)]


# Tables that get other names meanwhile


def test_a_session_is_for_the_table_that_has_its_name_at_the_commit(rig: BulkRig) -> None:
    other = type(rig.ref)(rig.account.id, "shop", "other")
    rig.catalog.ensure_table(other)
    rig.create()
    rig.upload("p", [{"time": NOW, "x": 1}])
    rig.freeze()
    rig.perform()
    TableMoves(rig.database, rig.catalog, rig.clock).swap(rig.ref, other)
    rig.commit()
    assert rig.rows("x") == [(1,)]
    assert (rig.catalog.table(rig.ref).rows, rig.catalog.table(other).rows) == (1, 0)
    assert rig.warehouse.snapshot(other) is None


def test_a_swap_within_the_commit_takes_the_rows_along(rig: BulkRig, monkeypatch: pytest.MonkeyPatch) -> None:
    other = type(rig.ref)(rig.account.id, "shop", "other")
    rig.catalog.ensure_table(other)
    rig.create()
    rig.upload("p", [{"time": NOW, "x": 1}])
    rig.freeze()
    rig.perform()
    commit = rig.warehouse.commit_files

    def swap_then_commit(*given: Any, **named: Any) -> Any:
        TableMoves(rig.database, rig.catalog, rig.clock).swap(rig.ref, other)
        return commit(*given, **named)

    monkeypatch.setattr(rig.warehouse, "commit_files", swap_then_commit)
    rig.commit()
    assert rig.rows() == []
    assert (rig.catalog.table(rig.ref).rows, rig.catalog.table(other).rows) == (0, 1)
    snapshot = rig.warehouse.snapshot(other)
    assert snapshot is not None
    assert all(path.exists() for path in snapshot.files)
