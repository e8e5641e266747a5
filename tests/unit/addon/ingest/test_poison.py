"""A batch that breaks the flush is put aside with a dead letter; what came with it and after it goes on."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from addon.ingest import flusher, service
from addon.ingest.quarantine import is_machines_fault
from addon.ingest.record import decode
from addon.models.ingest import Batch, BodyKind
from platform_core.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


def ndjson(body: str, upload_id: str | None = None, *, table: str = "events") -> Batch:
    return Batch(BodyKind.NDJSON, 1, "shop", table, body.encode(), 1000.5, upload_id)


def logplex(*texts: str) -> Batch:
    head = b"<190>1 2026-11-25T13:00:00.123456+00:00 host app web.1 - "
    lines = [head + text.encode() + b"\n" for text in texts]
    body = b"".join(b"%d %b" % (len(line), line) for line in lines)
    return Batch(BodyKind.LOGPLEX, 1, "", "", body, 1000.5, None, {"app": "shop", "drain": "d.1"})


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Retry at once; the tracebacks go nowhere."""
    monkeypatch.setattr(service, "_RETRY_S", 0.01)
    with capture_logs():
        yield


@pytest.fixture
def bug_in_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    real = flusher.decode_records

    def breaking(records: Any, *rest: Any, **options: Any) -> Any:
        if any(b"poison" in record.batch.body for record in records):
            raise ZeroDivisionError("a bug")
        return real(records, *rest, **options)

    monkeypatch.setattr(flusher, "decode_records", breaking)


async def until_flushed(running: Any) -> None:
    async with asyncio.timeout(20):
        while running._pending.accounts:  # noqa: ASYNC110 - the books have no event
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("bug_in_decoding")
def test_one_poisonous_batch_is_put_aside_and_its_neighbours_are_rows(rig: Any) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        running = rig.service()
        await running.start()
        good = [ndjson(f'{{"a":{n}}}', f"u{n}") for n in range(4)]
        poison = ndjson('{"a":"poison"}', "bad")
        await asyncio.gather(*map(running.append, [*good[:2], poison, *good[2:]]))
        await running.append(logplex("one", "two"))
        await running.append(logplex("three"))
        await until_flushed(running)
        await running.append(ndjson('{"a":9}'))
        await running.flush(1)
        assert rig.rows("shop", "events", columns="a") == [(0,), (1,), (2,), (3,), (9,)]
        assert [text for (text,) in rig.rows("logs", "app", columns="message")] == ["one", "three", "two"]
        seqs = [seq for (seq,) in rig.rows("logs", "app", columns="seq")]
        assert len(set(seqs)) == 3
        letters = rig.rows("logs", "dead_letters", columns='reason, "table", body')
        assert letters == [("quarantined: ZeroDivisionError: a bug", "events", '{"a":"poison"}')]
        assert running.stats.quarantined == 1
        assert (await running.append(poison)).duplicate
        await running.close()
        (kept,) = (rig.home / "wal" / "quarantine").iterdir()
        assert decode(kept.read_bytes()).batch == poison
        assert list((rig.home / "wal").glob("*.wal")) == []

    asyncio.run(main())


def test_a_table_that_cannot_be_committed_to_does_not_hold_up_the_others(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rig.warehouse.commit

    def breaking(item: Any, *rest: Any) -> Any:
        if item.ref.table == "broken":
            raise ValueError("the log of this table is damaged")
        return real(item, *rest)

    monkeypatch.setattr(rig.warehouse, "commit", breaking)

    async def main() -> None:
        for name in ("broken", "events"):
            rig.table("shop", name)
        running = rig.service()
        await running.start()
        await asyncio.gather(
            running.append(ndjson('{"a":1}\n{"a":2}', table="broken")), running.append(ndjson('{"a":3}'))
        )
        await until_flushed(running)
        assert rig.rows("shop", "events", columns="a") == [(3,)]
        ((reason, table, body),) = rig.rows("logs", "dead_letters", columns='reason, "table", body')
        assert (reason, table) == ("quarantined: ValueError: the log of this table is damaged", "broken")
        (kept,) = (rig.home / "wal" / "quarantine").iterdir()
        assert body == f"2 rows, kept as {kept.name}"
        assert pq.read_table(kept)["a"].to_pylist() == [1, 2]
        await running.close()

    asyncio.run(main())


def test_a_segment_that_fails_even_piece_by_piece_is_put_aside_whole(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        rig.table("shop", "events")
        running = rig.service()
        await running.start()
        await running.append(ndjson('{"a":1}', "u"))

        def broken(*_: Any, **__: Any) -> Any:
            raise AssertionError("a bug in the flush itself")

        with monkeypatch.context() as patch:
            patch.setattr(running._flusher, "flush", broken)
            await until_flushed(running)
        await running.append(ndjson('{"a":2}'))
        await running.flush(1)
        assert rig.rows("shop", "events", columns="a") == [(2,)]
        (kept,) = (rig.home / "wal" / "quarantine").iterdir()
        assert kept.suffix == ".wal"
        assert running.stats.quarantined == 1
        await running.close()

    asyncio.run(main())


def test_a_failing_machine_puts_nothing_aside(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = rig.warehouse.commit
    failures = iter([OSError(errno.ENOSPC, "full")] * 4)

    def full(*arguments: Any) -> Any:
        for error in failures:
            raise error
        return real(*arguments)

    monkeypatch.setattr(rig.warehouse, "commit", full)

    async def main() -> None:
        rig.table("shop", "events")
        running = rig.service()
        await running.start()
        await running.append(ndjson('{"a":1}'))
        with pytest.raises(Unavailable):
            await running.flush(1)
        await until_flushed(running)
        assert running.stats.flush_failures == 4
        assert rig.rows("shop", "events", columns="a") == [(1,)]
        assert not (rig.home / "wal" / "quarantine").exists()
        await running.close()

    asyncio.run(main())


class OperationalError(Exception):
    """Named as database drivers name theirs."""


def wrapped(cause: Exception) -> Exception:
    outer = RuntimeError("wrapped")
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EIO, "lost"), True),
        (MemoryError(), True),
        (Unavailable(), True),
        (OperationalError("database or disk is full"), True),
        (RuntimeError("Generic LocalFileSystem error: No space left on device (os error 28)"), True),
        (wrapped(OSError(errno.ENOSPC, "full")), True),
        (RuntimeError("Object not found: No such file or directory (os error 2)"), False),
        (ValueError("a bug"), False),
    ],
)
def test_the_machines_fault_is_told_from_the_datas(error: Exception, expected: bool) -> None:
    assert is_machines_fault(error) is expected
