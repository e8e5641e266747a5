"""The ingest service: acks, upload ids, the barrier, recovery, full and failing disks."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgpack
import pytest

from addon.ingest.limits import IngestLimits
from addon.ingest.rows import kind_of
from addon.models.ingest import Batch, BodyKind
from platform_core.base import failpoints
from platform_core.base.errors import Conflict, InvalidInput, OutOfSpace, TooLarge, Unavailable


def ndjson(body: str, upload_id: str | None = None, *, account: int = 1, table: str = "events") -> Batch:
    return Batch(BodyKind.NDJSON, account, "shop", table, body.encode(), 1000.5, upload_id)


def packed(*rows: Any, upload_id: str | None = None) -> Batch:
    body = gzip.compress(b"".join(map(msgpack.packb, rows)), mtime=0)
    return Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", body, 1000.5, upload_id)


def test_a_batch_is_queryable_after_the_barrier_and_its_log_is_gone(rig: Any) -> None:
    async def main() -> None:
        service = rig.service(linger_s=60)
        rig.table("shop", "events")
        await service.start()
        ack = await service.append(ndjson('{"a":1}\n{"a":2,"time":7}'))
        assert not ack.duplicate
        await service.append(packed({"a": 3, "time": 8}))
        await service.flush(1)
        assert rig.rows("shop", "events") == [(7, 2), (8, 3), (1000, 1)]
        assert rig.catalog.rows == {next(iter(rig.catalog.tables)): 3}
        await service.close()
        assert list((rig.home / "wal").glob("*.wal")) == []

    asyncio.run(main())


def test_rows_arrive_by_themselves_without_a_barrier(rig: Any) -> None:
    async def main() -> None:
        service = rig.service()
        rig.table("shop", "events")
        await service.start()
        await service.append(ndjson('{"a":1}'))
        async with asyncio.timeout(5):
            while not service.stats.rows:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.01)
        await service.close()

    asyncio.run(main())


def test_the_barrier_of_an_idle_account_returns_at_once(rig: Any) -> None:
    async def main() -> None:
        service = rig.service(linger_s=60)
        await service.start()
        await service.append(ndjson('{"a":1}', account=2))
        await service.flush(1)
        assert service.stats.flushes == 0
        await service.close()

    asyncio.run(main())


def test_a_repeated_upload_id_is_stored_once_at_once_and_across_a_restart(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service()
        await service.start()
        acks = await asyncio.gather(*(service.append(packed({"a": 1}, upload_id="u")) for _ in range(16)))
        assert sorted(ack.duplicate for ack in acks) == [False, *[True] * 15]
        await service.flush(1)
        assert (await service.append(packed({"a": 1}, upload_id="u"))).duplicate
        await service.close()
        again = rig.service()
        await again.start()
        assert (await again.append(packed({"a": 1}, upload_id="u"))).duplicate
        with pytest.raises(Conflict):
            await again.append(packed({"a": 2}, upload_id="u"))
        await again.close()
        assert rig.rows("shop", "events", columns="a") == [(1,)]

    asyncio.run(main())


def test_the_same_id_for_another_table_or_account_is_another_upload(rig: Any) -> None:
    async def main() -> None:
        for ref in (("shop", "events", 1), ("shop", "others", 1), ("shop", "events", 2)):
            rig.table(*ref)
        service = rig.service()
        await service.start()
        batches = [ndjson("{}", "u"), ndjson("{}", "u", table="others"), ndjson("{}", "u", account=2)]
        assert [(await service.append(batch)).duplicate for batch in batches] == [False] * 3
        await service.close()

    asyncio.run(main())


def test_an_id_with_another_body_is_a_conflict_while_it_is_still_in_the_log(rig: Any) -> None:
    async def main() -> None:
        service = rig.service(linger_s=60)
        rig.table("shop", "events")
        await service.start()
        await service.append(ndjson('{"a":1}', "u"))
        with pytest.raises(Conflict):
            await service.append(ndjson('{"a":2}', "u"))
        await service.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        (Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", b"no gzip", 1.0), InvalidInput),
        (Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", gzip.compress(b"\xc1"), 1.0), InvalidInput),
        (Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", gzip.compress(b"\x81\xa1a"), 1.0), InvalidInput),
        (Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", gzip.compress(b"\x01"), 1.0), InvalidInput),
        (Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", gzip.compress(b""), 1.0), InvalidInput),
        (
            Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", gzip.compress(b"\xdd\xff\xff\xff\xff"), 1.0),
            InvalidInput,
        ),
        (Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", gzip.compress(b"{}")[:-3], 1.0), InvalidInput),
        (Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", gzip.compress(b"\0" * (20 << 20)), 1.0), TooLarge),
        (Batch(BodyKind.MSGPACK_GZ, 1, "shop", "events", b"x" * 3000, 1.0), TooLarge),
        (Batch(BodyKind.NDJSON, 1, "shop", "events", b"", 1.0), InvalidInput),
        (Batch(BodyKind.NDJSON, 1, "shop", "events", b"[1]\nnope", 1.0), InvalidInput),
        (Batch(BodyKind.LOGPLEX, 1, "", "", b"hello", 1.0), InvalidInput),
    ],
)
def test_a_body_broken_as_a_whole_is_refused_before_the_ack(
    rig: Any, batch: Batch, error: type[Exception]
) -> None:
    async def main() -> None:
        body_bytes = 2_000 if batch.body.startswith(b"xx") else 32 << 20
        service = rig.service(limits=IngestLimits(body_bytes=body_bytes))
        await service.start()
        with pytest.raises(error):
            await service.append(batch)
        assert service.stats.batches == 0
        await service.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("not_utf8", "not_utf8"),
        ("line 12: malformed_json: unexpected end", "malformed_json"),
        ("line 3: has 2 fields, not 3", "other"),
        ("framing_lost at byte 7: no number", "framing_lost"),
        ("extension_type_5", "extension_type"),
        ("quarantined: ValueError: x", "quarantined"),
        ('"}\n', "other"),
    ],
)
def test_reasons_that_differ_in_detail_only_are_counted_as_one(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind


def test_bad_lines_among_good_ones_become_dead_letters(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service()
        await service.start()
        await service.append(
            ndjson('{"a":1}\n{"a":\n\n{"a":2,"time":null}\n{"time":1e30}\n{"time":"x"}\n[1]')
        )
        await service.flush(1)
        await service.close()
        assert rig.rows("shop", "events", columns="a") == [(1,)]
        letters = rig.rows("logs", "dead_letters", columns='reason, "database", "table", body, time')
        assert [(reason.partition(" (")[0][:24], body) for reason, *_, body, _ in letters] == [
            ("line 2: malformed_json: ", '{"a":'),
            ("line 7: not_a_json_objec", "[1]"),
            ("time_is_not_a_number", '{"time":"x"}'),
            ("time_is_null", '{"a":2,"time":null}'),
            ("time_is_out_of_range", '{"time":1e30}'),
        ]
        assert {letter[1:3] + letter[4:] for letter in letters} == {("shop", "events", 1000)}
        assert service.stats.dead_letters_by_reason == {
            "malformed_json": 1,
            "not_a_json_object": 1,
            "time_is_not_a_number": 1,
            "time_is_null": 1,
            "time_is_out_of_range": 1,
        }

    asyncio.run(main())


def test_what_was_acked_before_a_crash_is_there_after_it(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service(linger_s=60)
        await service.start()
        await service.append(ndjson('{"a":1}', "u"))
        service._wal.folder.release()  # as if killed: nothing flushed, nothing closed
        again = rig.service(linger_s=60)
        await again.start()
        assert again.stats.recovered_batches == 1
        assert (await again.append(ndjson('{"a":1}', "u"))).duplicate
        await again.flush(1)
        assert rig.rows("shop", "events", columns="a") == [(1,)]
        await again.close()

    asyncio.run(main())


def test_a_second_process_may_not_take_the_same_log(rig: Any) -> None:
    async def main() -> None:
        service = rig.service()
        await service.start()
        with pytest.raises(Unavailable, match="Another process"):
            await rig.service().start()
        await service.close()

    asyncio.run(main())


def test_a_full_disk_refuses_and_recovers_by_itself(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service()
        await service.start()
        await service.append(ndjson('{"a":1}', "one"))
        rig.disk.full = True
        for _ in range(3):
            with pytest.raises(OutOfSpace):
                await service.append(ndjson('{"a":2}', "two"))
        rig.disk.full = False
        rig.disk.free = 10
        with pytest.raises(OutOfSpace):
            await service.append(ndjson('{"a":2}', "two"))
        rig.disk.free = None
        assert not (await service.append(ndjson('{"a":2}', "two"))).duplicate
        await service.flush(1)
        assert rig.rows("shop", "events", columns="a") == [(1,), (2,)]
        await service.close()

    asyncio.run(main())


@pytest.mark.parametrize("truncates", [0, 9])
def test_a_failed_fsync_retires_the_segment_and_acks_from_a_new_one(rig: Any, truncates: int) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service(linger_s=60)
        await service.start()
        await service.append(ndjson('{"a":1}'))
        rig.disk.failing_syncs, rig.disk.failing_truncates = 1, truncates
        await service.append(ndjson('{"a":2}'))
        assert len(list((rig.home / "wal").glob("*.wal"))) == 2
        service._wal.folder.release()
        again = rig.service(linger_s=60)  # a restart sees both copies when the cut failed too
        await again.start()
        await again.flush(1)
        assert rig.rows("shop", "events", columns="a") == [(1,), (2,)]
        await again.close()

    asyncio.run(main())


def test_a_disk_that_keeps_failing_acks_nothing(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service()
        await service.start()
        await service.append(ndjson('{"a":1}'))
        rig.disk.failing_syncs = 50
        with pytest.raises(Unavailable):
            await service.append(ndjson('{"a":2}', "u"))
        rig.disk.failing_syncs = 0
        assert not (await service.append(ndjson('{"a":2}', "u"))).duplicate
        await service.flush(1)
        assert rig.rows("shop", "events", columns="a") == [(1,), (2,)]
        await service.close()

    asyncio.run(main())


def test_bit_rot_in_mid_log_costs_its_batch_only_and_is_quarantined(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service(linger_s=60)
        await service.start()
        for n in range(5):
            await service.append(ndjson(f'{{"marker":{n}}}'))
        service._wal.folder.release()
        path = next((rig.home / "wal").glob("*.wal"))
        data = bytearray(path.read_bytes())
        data[data.index(b'"marker":2')] ^= 4
        path.write_bytes(bytes(data) + b"\0" * 4096)
        again = rig.service()
        await again.start()
        await again.flush(1)
        assert rig.rows("shop", "events", columns="marker") == [(0,), (1,), (3,), (4,)]
        assert again.stats.corrupt_ranges == 1
        assert len(list((rig.home / "wal" / "quarantine").iterdir())) == 1
        await again.close()

    asyncio.run(main())


def test_too_much_unflushed_data_is_pushed_back(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service(linger_s=60, limits=IngestLimits(unflushed_bytes=30))
        await service.start()
        await service.append(ndjson('{"a":1234567890}'))
        with pytest.raises(Unavailable, match="Retry after"):
            await service.append(ndjson('{"a":1234567890}'))
        await service.flush(1)
        await service.append(ndjson('{"a":1234567890}'))
        await service.close()

    asyncio.run(main())


def test_a_failing_flush_tells_the_barrier_and_is_tried_again(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service()
        await service.start()
        failpoints.arm("parquet.pre_fsync:error@1")
        try:
            await service.append(ndjson('{"a":1}'))
            with pytest.raises(Unavailable):
                await service.flush(1)
            await service.flush(1)
        finally:
            failpoints.arm("")
        assert rig.rows("shop", "events", columns="a") == [(1,)]
        await service.close()

    asyncio.run(main())


def test_a_late_batch_of_a_dropped_table_is_discarded_and_counted(rig: Any) -> None:
    async def main() -> None:
        ref = rig.table("shop", "events")
        service = rig.service(linger_s=60)
        await service.start()
        await service.append(ndjson('{"a":1}'))
        rig.catalog.tables.discard(ref)
        await service.flush(1)
        assert service.stats.discarded_tables == 1
        assert rig.warehouse.snapshot(ref) is None
        await service.close()

    asyncio.run(main())


def test_a_cancelled_caller_leaves_no_half_kept_books(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        service = rig.service(linger_s=60)
        await service.start()
        caller = asyncio.create_task(service.append(ndjson('{"a":1}', "u")))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        ack = await service.append(ndjson('{"a":1}', "u"))
        await service.flush(1)
        assert rig.rows("shop", "events", columns="a") == [(1,)]
        assert ack.duplicate in {True, False}
        assert service._pending.weight == 0
        assert not service._pending.uploads
        await service.close()

    asyncio.run(main())


def test_the_sequence_of_a_drain_rises_strictly_over_flushes_restarts_and_bodies(rig: Any) -> None:
    def lines(*texts: str) -> Batch:
        head = b"<190>1 2026-11-25T13:00:00.123456+00:00 host app web.1 - "
        frames = [head + text.encode() + b"\n" for text in texts]
        body = b"".join(b"%d %b" % (len(frame), frame) for frame in frames)
        return Batch(BodyKind.LOGPLEX, 1, "", "", body, 1000.5, None, {"app": "shop", "drain": "d.1"})

    async def main() -> None:
        number = 0
        for life in range(3):
            service = rig.service(linger_s=60)
            await service.start()
            for _ in range(3):
                for _ in range(2):
                    await service.append(lines(*(f"line {number + n:04d}" for n in range(5))))
                    number += 5
                await service.flush(1)
            if life == 1:
                await service.append(lines(f"line {number:04d}"))
                number += 1
                service._wal.folder.release()  # as if killed
            else:
                await service.close()
        found = rig.rows("logs", "app", columns="seq, message, drain")
        assert [message for _, message, _ in found] == [f"line {n:04d}" for n in range(number)]
        assert len({seq for seq, _, _ in found}) == number

    asyncio.run(main())


@pytest.mark.parametrize("turns", range(5))
def test_closing_at_the_moment_when_a_merge_falls_due_ends(rig: Any, turns: int) -> None:
    """The cancel meets the event that the loop waits for; before Python 3.12, wait_for would lose it."""

    async def main() -> None:
        service = rig.service(linger_s=60)
        await service.start()
        await asyncio.sleep(0)
        service._merge.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        service._upkeep.cancel()
        ended, _ = await asyncio.wait({service._upkeep}, timeout=5)
        assert ended
        await service.close()

    asyncio.run(main())
